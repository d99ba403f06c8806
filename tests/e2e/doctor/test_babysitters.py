"""Babysitters and the engines that they watch, with the cures of `svc doctor`."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.doctor.diagnosis import Cures, doctor, everything, find, wait_for_start, wait_until_healthy
from tests.e2e.doctor.servers import json_server
from tests.e2e.sites import Site, http
from tests.waiting import free_port, free_port_pair, other_address

ONE = ("one:server",)
AT_ONCE = {"start_phase.START_SECONDS": 0}
LOADED_TOO_LONG = {"checks.babysitters.MAX_LOADING_SECONDS": 1}
KEYED = 'command = "svc mock"\nargs = ["--name", "one", "--port", "{}", "--models", "m"]\n{}'


def behave(site: Site, **behaviour: object) -> None:
    http.post(f"{site.service('one-server')['url']}/mock/behave", json=behaviour, timeout=5).raise_for_status()


def secret_file(site: Site, name: str, text: str) -> Path:
    path = site.root / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.long
@pytest.mark.cures("elsewhere.*: svc apply")
def test_an_instance_that_registers_elsewhere(ailing: Site, cures: Cures) -> None:
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(f'registry_url = "http://127.0.0.1:{free_port()}"\n{before}')
    assert "one: registers at " in "".join(ailing.svc("up"))
    finding = find(ailing, "elsewhere.one")
    toml.write_text(before)
    cures.apply(ailing, finding, restarts=("one:babysitter",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("babysitter.*: svc up")
def test_a_port_at_which_another_babysitter_answers(ailing: Site, cures: Cures) -> None:
    """It has taken the port while ours was about to listen."""
    toml = ailing.root / "config" / "one.toml"
    before, port = toml.read_text(), ailing.service("one-server")["port"]
    ended = ailing.pid("one:babysitter")
    os.kill(ended, signal.SIGKILL)
    os.kill(wait_for_start(ailing, "one:babysitter", ended), signal.SIGSTOP)
    with json_server(port + 1, {"/info": {"name": "two", "registered": True}, "/health": {}}):
        finding = find(ailing, "babysitter.one", fix="*up")
        assert "the babysitter of two" in finding["what"]
        other = free_port_pair()
        toml.write_text(before.replace(str(port), str(other)))
        cures.apply(ailing, finding, restarts=("one:*",))
        wait_until_healthy(ailing)
    toml.write_text(before)
    ailing.svc("up")
    wait_until_healthy(ailing)


@pytest.mark.cures("babysitter.*: supervisorctl restart *")
def test_a_babysitter_whose_registry_is_away(ailing: Site, cures: Cures) -> None:
    """Its cure is applied after that of its cause, to a babysitter that would find back by itself."""
    ailing.run("supervisorctl", "stop", "registry")
    finding = find(ailing, "babysitter.one")
    [cause] = doctor(ailing)
    assert cause["key"] == "program.registry"
    assert {"registry.silent", "babysitter.one"} <= everything([cause]).keys()
    first, *_ = ailing.svc("doctor", status=1)[0].splitlines()
    assert first == "problem  registry: was stopped by hand"
    ailing.run("supervisorctl", "start", "registry")
    cures.apply(ailing, finding, restarts=("one:babysitter",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("models.*: svc apply", "upstream.*: svc up")
def test_an_engine_that_wants_an_api_key(site: Site, cures: Cures) -> None:
    port = free_port_pair()
    toml = site.toml("one", port, KEYED.format(port, 'env = { SVC_MOCK_API_KEY = "sk-engine" }'), heartbeat_interval=1)
    site.svc("up", "--timeout", "3", status=1)
    finding = find(site, "models.one", fix="*apply")
    assert "wants an API key" in finding["what"]
    secret_file(site, "one.key", "sk-engine")
    toml.write_text(toml.read_text().replace("[backend]", '[backend]\napi_key_file = "one.key"'))
    cures.apply(site, finding, restarts=("one:babysitter",), leaves=("upstream.*", "model.*"))
    finding = find(site, "upstream.one")
    secret_file(site, "upstream.toml", '[instances]\none-server = "sk-engine"\n')
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text() + 'upstream_keys_file = "upstream.toml"\n')
    cures.apply(site, finding, restarts=("router",))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("models.*: supervisorctl restart *")
def test_an_engine_that_hangs(ailing: Site, cures: Cures) -> None:
    behave(ailing, hang=True, everywhere=True)
    finding = find(ailing, "models.one")
    assert "it hangs" in finding["what"]
    cures.apply(ailing, finding, restarts=ONE)
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("models.*: svc status --watch", "models.*: supervisorctl restart *")
def test_an_engine_that_loads_its_model(ailing: Site, cures: Cures) -> None:
    behave(ailing, fail_status=503, everywhere=True)
    finding = find(ailing, "models.one", fix="*watch")
    assert "still loads" in finding["what"]
    cures.watch(ailing, finding, lambda: behave(ailing, fail_status=None))
    behave(ailing, fail_status=503, everywhere=True)
    cures.apply(ailing, find(ailing, "models.one", fix="*restart*", limits=LOADED_TOO_LONG), restarts=ONE)
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("models.*: svc status --watch", "models.*: supervisorctl restart *")
def test_an_engine_that_is_not_ready(site: Site, cures: Cures) -> None:
    """It lists its models, and its own health check fails."""
    port = free_port_pair()
    unhealthy = site.root / "unhealthy"
    script = ENGINE.format(port=port, unhealthy=unhealthy)
    (site.root / "engine.py").write_text(script)
    site.toml("one", port, f"command = {sys.executable!r}\nargs = ['{site.root}/engine.py']", heartbeat_interval=1)
    site.svc("up")
    unhealthy.touch()
    finding = find(site, "models.one", fix="*watch")
    assert "not ready" in finding["what"]
    cures.watch(site, finding, unhealthy.unlink)
    unhealthy.touch()
    finding = find(site, "models.one", fix="*restart*", limits=LOADED_TOO_LONG)
    unhealthy.unlink()
    cures.apply(site, finding, restarts=ONE)


ENGINE = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Engine(BaseHTTPRequestHandler):
    def do_GET(self):
        ill = self.path == "/health" and os.path.exists("{unhealthy}")
        body = json.dumps({{"object": "list", "data": [{{"id": "m", "object": "model"}}]}}).encode()
        self.send_response(503 if ill else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", {port}), Engine).serve_forever()
"""


@pytest.mark.long
@pytest.mark.cures("models.*: svc up")
def test_an_engine_that_lists_no_models(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    right = toml.read_text()
    port = int(right.partition("port = ")[2].split()[0])
    wrong = f"command = {sys.executable!r}\nargs = ['-m', 'http.server', '--bind', '127.0.0.1', '{port}']"
    site.toml("one", port, wrong, heartbeat_interval=1)
    site.svc("up", "--timeout", "3", status=1)
    cause = find(site, "models.one", fix="*up")
    assert "404" in cause["why"]
    assert "/v1/models" in cause["why"]
    toml.write_text(right)
    cures.apply(site, cause, restarts=("one:*",))
    wait_until_healthy(site)


@pytest.mark.cures("outside.*: svc up")
def test_502_because_the_instance_listens_on_loopback_only(site: Site, cures: Cures) -> None:
    here = other_address()
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    shut = f'host = "{here}"\n{toml.read_text()}'
    toml.write_text(shut)
    site.svc("up")
    assert site.chat().status_code in (502, 503)
    cause = find(site, "outside.one")
    assert f"{here}:" in cause["what"]
    assert "--host 0.0.0.0" in cause["first"]
    toml.write_text(shut.replace("'--port'", "'--host', '0.0.0.0', '--port'"))
    cures.apply(site, cause, restarts=("one:*",))
    wait_until_healthy(site)


@pytest.mark.cures("adapter.*: svc engine POST * * --json *")
def test_a_lora_adapter_that_one_instance_lacks(site: Site, cures: Cures) -> None:
    port, _ = [site.mock(name, heartbeat_interval=1) for name in ("one", "two")]
    site.svc("up")
    adapter = json.dumps({"lora_name": "sql", "lora_path": "/adapters/sql"})
    site.svc("engine", "POST", "/v1/load_lora_adapter", "--instance", "one", "--json", adapter)
    finding = find(site, "adapter.sql")
    assert finding["what"] == "LoRA adapter 'sql': is not loaded at two-server"
    cures.apply(site, finding)
    wait_until_healthy(site)
    site.svc("services", "add", "plain", "localhost", str(port))  # has the adapter too, and no babysitter
    wait_until_healthy(site)
