"""`svc engine` against real engines' mocks, their babysitters, a registry and a router."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from svc.cli.main import svc
from svc.management.engines import STATIC_NOTE
from tests.integration.babysitter.processes import SVC, LoggedProcess
from tests.integration.fakes import Mock, mock
from tests.integration.registry.process import Registry
from tests.integration.router.routers import Router, router
from tests.waiting import free_port_pair, wait_until

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
TOML = """
name = "{name}"
host = "localhost"
port = {port}
registry_url = "{registry}"
[backend]
type = "command"
command = "true"
"""


class Site:
    """Two replicas of `base`, each with its babysitter at the default intervals, a registry and a router."""

    def __init__(self, root: Path, registry: Registry, router: Router, engines: Sequence[Mock]) -> None:
        self.root = root
        self.registry = registry
        self.router = router
        self.engines = engines

    def engine(self, *arguments: str, status: int = 0, stdin: str = "") -> tuple[str, str]:
        """Run `svc engine`; return its stdout and stderr."""
        return engine(*arguments, "--registry-url", self.registry.client.urls[0], status=status, stdin=stdin)

    def chat(self, model: str) -> tuple[int, str]:
        """Return the status of a chat through the router, and the name of the instance that answered."""
        return chat(self.router, model)


def engine(*arguments: str, status: int = 0, stdin: str = "") -> tuple[str, str]:
    done = CliRunner().invoke(svc, ["engine", *arguments], input=stdin)
    assert done.exit_code == status, done.output
    return done.stdout, done.stderr


def chat(router: Router, model: str) -> tuple[int, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    answer = requests.post(f"{router.url}/v1/chat/completions", json=body, timeout=10)
    return answer.status_code, answer.headers.get("x-mock-name", "")


def adapter(name: str) -> str:
    return json.dumps({"lora_name": name, "lora_path": f"/adapters/{name}"})


@contextmanager
def replica(root: Path, name: str, registry: str) -> Iterator[Mock]:
    port = free_port_pair()
    toml = root / f"{name}.toml"
    toml.write_text(TOML.format(name=name, port=port, registry=registry))
    with mock(name, ["base"], port) as engine:
        babysitter = LoggedProcess([*SVC, "babysitter", "--config-file", toml], root, root / f"{name}.log")
        try:
            yield engine
        finally:
            babysitter.kill_all()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        registry = Registry(root, "--store", "sqlite:registry.db").start()
        stack.callback(registry.end)
        url = registry.client.urls[0]
        engines = [stack.enter_context(replica(root, name, url)) for name in ("a", "b")]
        own = stack.enter_context(router("--registry-url", url))
        wait_until(lambda: [s["healthy"] for s in own.get("/services").json()["services"]] == [True, True], 20)
        yield Site(root, registry, own, engines)


def test_an_adapter_loaded_at_all_replicas_answers_the_next_request(site: Site):
    out, err = site.engine("POST", LOAD, "--model", "base", "--json", adapter("sql"))
    answers = [site.chat("sql") for _ in range(20)]
    assert {status for status, _ in answers} == {200}
    assert {name for _, name in answers} == {"a", "b"}
    assert out.splitlines() == [
        "a-server  200  Success: LoRA adapter 'sql' added successfully.",
        "b-server  200  Success: LoRA adapter 'sql' added successfully.",
        "models now: base, sql",
    ]
    assert err == ""
    site.engine("POST", UNLOAD, "--model", "sql", "--json", "-", stdin='{"lora_name": "sql"}')
    assert site.chat("sql")[0] == 503


def test_an_adapter_that_one_replica_lacks_is_an_error_with_its_cure(site: Site):
    site.engine("POST", LOAD, "--instance", "a", "--json", adapter("half"))
    assert {site.chat("half") for _ in range(6)} == {(200, "a")}
    out, err = site.engine("POST", LOAD, "--model", "base", "--json", adapter("half"), status=1)
    assert out.splitlines()[0].startswith("a-server  400  The lora adapter 'half' has already been loaded.")
    assert out.splitlines()[2] == "models now: base, half"
    assert err.startswith("svc: 1 of 2 instances did not answer 2xx: a-server; ")
    assert f"`svc engine POST {LOAD} --instance a-server`" in err
    assert "or undo it at b-server" in err
    site.engine("POST", UNLOAD, "--all", "--json", '{"lora_name": "half"}')


def test_an_engine_that_hangs_delays_no_other_and_is_reported(site: Site):
    site.engines[1].behave(hang=True)
    try:
        out, err = site.engine("POST", "/reset_prefix_cache", "--all", "--timeout", "0.5", status=1)
    finally:
        site.engines[1].behave(hang=False)
    assert out.splitlines()[0] == "a-server  404  no such path: /reset_prefix_cache"
    assert out.splitlines()[1] == "b-server  failed  no answer within 0.5 s; it may have done it all the same"
    assert "2 of 2 instances" in err


def test_a_drained_replica_gets_the_request_too(site: Site):
    site.registry.client.drain("b-server")
    try:
        out, _ = site.engine("GET", "/health", "--model", "base")
    finally:
        site.registry.client.drain("b-server", drained=False)
    assert [line.split()[:2] for line in out.splitlines()] == [["a-server", "200"], ["b-server", "200"]]


def test_whole_answers_are_shown_as_text_and_as_json(site: Site):
    out, _ = site.engine("GET", "/v1/models", "--instance", "a-server", "--verbose")
    assert json.loads(out.splitlines()[1])["data"][0]["id"] == "base"
    document = json.loads(site.engine("GET", "/v1/models", "--model", "base", "--format", "json")[0])
    assert document["ok"]
    assert [i["body"]["data"][0]["id"] for i in document["instances"]] == ["base", "base"]
    assert {(i["status"], i["reason"], i["models"]) for i in document["instances"]} == {(200, None, None)}


def test_without_a_selection_the_models_are_named(site: Site):
    _, err = site.engine("POST", "/sleep", status=2)
    assert "give one of --model M, --instance NAME and --all; the models are: base\n" in err
    _, err = site.engine("POST", "/sleep", "--model", "bass", status=1)
    assert err == "svc: no instance lists the model 'bass'; there are base; did you mean base?\n"


def test_a_static_service_is_managed_and_its_new_model_is_routed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    """It wants an API key of its own, too, which the command and the router read from the same file."""
    with mock("solo", ["base"], api_key="the-engines-own") as solo:
        keys = tmp_path / "keys.toml"
        keys.write_text('[instances]\nsolo = "the-engines-own"\n')
        services = tmp_path / "static.json"
        services.write_text(json.dumps([{"name": "solo", "host": "127.0.0.1", "port": solo.port}]))
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "svc.toml").write_text(
            '[router]\nstatic_services = "static.json"\nupstream_keys_file = "keys.toml"\n'
            '[launch]\ncomponents = "router"\n'
        )
        with router("--static-services", services, "--upstream-keys-file", keys, "--health-interval", "600") as own:
            wait_until(lambda: chat(own, "base")[0] == 200)
            out, _ = engine("POST", LOAD, "--model", "base", "--json", adapter("sql"))
            assert out.splitlines()[1:] == [
                "models now: base, sql",
                f"solo: {STATIC_NOTE}",
            ]
            wait_until(lambda: chat(own, "sql")[0] == 200, 5, "the router has asked it again", interval=0.1)
