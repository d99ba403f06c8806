"""Routers that do not answer, or know too little of the instances, with the cures of `svc doctor`."""

import os
import signal
from collections.abc import Callable

import pytest

from svc.base import procfs
from tests.e2e.doctor.diagnosis import (
    INTERVAL_SECONDS,
    Cures,
    doctor,
    everything,
    find,
    run_command,
    wait_until_healthy,
)
from tests.e2e.doctor.servers import json_server
from tests.e2e.sites import Site, http
from tests.e2e.traffic import HEAVY_PAUSE_SECONDS, Traffic
from tests.waiting import free_port, wait_until

AT_ONCE = {"start_phase.START_SECONDS": 0}
REMOTE_HEALTH = {"router": "running", "table_source": "registry", "table_age_seconds": 1.0}


def behave(site: Site, **behaviour: object) -> None:
    http.post(f"{site.service('one-server')['url']}/mock/behave", json=behaviour, timeout=5).raise_for_status()


def change(site: Site, edit: Callable[[str], str]) -> None:
    """Edit config/svc.toml."""
    config = site.root / "config" / "svc.toml"
    config.write_text(edit(config.read_text()))


@pytest.mark.long
@pytest.mark.cures("router.silent: supervisorctl restart router")
def test_a_router_that_hangs(ailing: Site, cures: Cures) -> None:
    pid = ailing.pid("router")
    workers = [child for child in procfs.process_ids() if pid in procfs.ancestors(child)]
    for process in (pid, *workers):
        os.kill(process, signal.SIGSTOP)
    cures.apply(ailing, find(ailing, "router.silent"), restarts=("router",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures(
    "router.silent: curl -sS -m 5 */health",
    "router.waiting: curl -sS -m 5 */health",
    "router.table: curl -sS -m 5 */health",
    "router.missing.*: curl -sS -m 5 */health",
    "router.other: svc apply",
)
def test_a_router_on_another_machine(ailing: Site, site: Site, cures: Cures) -> None:
    """A host of instances alone: nothing here restarts a router."""
    port = free_port()
    (site.root / "config" / "svc.toml").write_text(
        f'[launch]\ncomponents = "babysitter"\nregistry_url = "{ailing.registry}"\n'
        f'router_url = "http://127.0.0.1:{port}"\n'
    )
    site.mock("other", "o", heartbeat_interval=1)
    site.svc("up")
    cures.look(site, find(site, "router.silent"), "onnect", status=7)
    documents = {"/health": REMOTE_HEALTH, "/services": {"services": []}}
    with json_server(port, documents):
        waiting = find(site, "router.waiting")
        assert "on its machine: `" in waiting["first"]
        cures.look(site, waiting, "running")
        documents["/readyz"] = {"status": "ready"}
        cures.look(site, find(site, "router.missing.one-server"), "running")
        documents["/health"] = {**REMOTE_HEALTH, "table_source": "saved"}
        cures.look(site, find(site, "router.table"), "saved")
        documents["/health"] = {"status": "ok"}
        finding = find(site, "router.other")
        change(site, lambda text: text.replace(f"http://127.0.0.1:{port}", ailing.router))
        cures.apply(site, finding, restarts=("other:babysitter",))


@pytest.mark.long
@pytest.mark.cures("router.table: supervisorctl restart router")
def test_a_router_that_works_from_its_saved_table(ailing: Site, cures: Cures) -> None:
    for program in ("router", "registry"):
        ailing.run("supervisorctl", "stop", program)
    ailing.run("supervisorctl", "start", "router")
    finding = find(ailing, "router.table")
    assert ailing.chat().ok
    ailing.run("supervisorctl", "start", "registry")
    cures.apply(ailing, finding, restarts=("router",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("router.waiting: supervisorctl restart router")
def test_a_router_that_has_had_no_registry_yet(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    site.svc("render")
    site.run("supervisord", "-c", str(site.root / "supervisord.conf"))
    wait_until(site.control_answers, 30, "supervisord")
    for program in ("registry", "router"):
        site.run("supervisorctl", "stop", program)
    for table in (site.root / "var").glob("router_table.json"):
        table.unlink()
    site.run("supervisorctl", "start", "router")
    assert find(site, "router.waiting")["fix"].endswith("--watch"), "it was just started"
    finding = find(site, "router.waiting", limits=AT_ONCE, fix="*restart*")
    site.run("supervisorctl", "start", "registry")
    cures.apply(site, finding, restarts=("router",))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("router.missing.*: supervisorctl restart router")
def test_a_router_that_reads_another_registry(ailing: Site, site: Site, cures: Cures) -> None:
    site.mock("other", "m", heartbeat_interval=1)
    change(site, lambda text: text.replace("[router]\n", f'[router]\nregistry_url = "{ailing.registry}"\n'))
    site.svc("up", "--timeout", "5", status=None)
    finding = find(site, "router.missing.other-server")
    change(site, lambda text: text.replace(f'registry_url = "{ailing.registry}"\n', ""))
    site.svc("up")
    cures.apply(site, finding, restarts=("router",))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("router.ejected.*: svc logs * --lines 50", "router.ejected.*: svc services show *")
def test_an_instance_that_the_router_has_ejected(ailing: Site, site: Site, cures: Cures) -> None:
    """By the router of its site, and by the one of another machine, which has no log of it."""
    change(site, lambda text: text + f'[launch]\ncomponents = "router"\nregistry_url = "{ailing.registry}"\n')
    site.svc("up")
    behave(ailing, drop=True)
    for here, text in ((ailing, "server"), (site, "one-server")):

        def ejected(here: Site = here) -> bool:
            here.chat()
            services = http.get(f"{here.router}/services", timeout=5).json()["services"]
            return any(service["ejected"] for service in services)

        wait_until(ejected, 30, "the ejection")
        cures.look(here, find(here, "router.ejected.one-server"), text)
    behave(ailing, drop=False)
    wait_until(lambda: ailing.chat().ok and site.chat().ok, 60, "trial requests")
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("router.unreached.*: curl -sS -m 5 */v1/models", "router.unused.*: curl -sS -m 5 *")
def test_an_instance_that_the_router_cannot_use(site: Site, cures: Cures) -> None:
    """The registry, which looks less often, still calls it healthy."""
    change(site, lambda text: text.replace("health_interval = 1", "health_interval = 120", 1))
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    port = free_port()
    documents = {"/health": {}, "/v1/models": {"object": "list", "data": [{"id": "o", "object": "model"}]}}
    with json_server(port, documents):
        site.svc("services", "add", "far", "127.0.0.1", str(port))
        wait_until(lambda: "far" in site.routed(), 30, "the router to use it")
        del documents["/health"]
        cures.look(site, find(site, "router.unused.far"), "not found")
    cures.look(site, find(site, "router.unreached.far"), "onnect", status=7)
    documents["/health"] = {}
    with json_server(port, documents):
        wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("router.queue: svc status")
def test_a_queue_that_is_full(site: Site, cures: Cures) -> None:
    site = Site(site.root, "queue_size = 2\n")
    site.mock("one", "m", "--first-token-delay", "3", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    toml.write_text(f"{toml.read_text()}[metadata]\nmax_concurrency = 1\n")
    site.svc("up")
    with Traffic(site.router, clients=3, pause_seconds=HEAVY_PAUSE_SECONDS):
        finding = find(site, "router.queue")
        cures.look(site, finding, "one:server")
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("router.keys: svc up", "router.open: svc apply")
def test_api_keys_that_are_not_applied_yet(site: Site, cures: Cures) -> None:
    site = Site(site.root, 'host = "0.0.0.0"\n')
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    finding = find(site, "router.open")
    assert "svc keys add NAME`" in finding["first"]
    run_command(site, "svc keys add team")
    change(site, lambda text: text.replace("[router]\n", '[router]\nkeys_file = "var/keys.toml"\n'))
    cures.apply(site, finding, restarts=("router",))
    assert site.chat().status_code == 401
    change(site, lambda text: text.replace('keys_file = "var/keys.toml"\n', ""))
    site.svc("up")
    change(site, lambda text: text.replace("[router]\n", '[router]\nkeys_file = "var/keys.toml"\n'))
    pending = find(site, "router.keys")
    cures.apply(site, pending, restarts=("router",))
    assert site.chat().status_code == 401


@pytest.mark.long
@pytest.mark.cures("usage.unwritten: svc usage")
def test_a_file_of_usage_that_cannot_be_written(site: Site, cures: Cures) -> None:
    usage = site.root / "var" / "usage.db"
    change(site, lambda text: text.replace("[router]\n", f'[router]\nusage_file = "{usage}"\n'))
    site.mock("one", heartbeat_interval=1)
    usage.mkdir(parents=True)
    site.svc("up")
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    http.post(f"{site.router}/v1/chat/completions", json=chat, timeout=30).raise_for_status()
    finding = wait_until(
        lambda: everything(doctor(site, status=None)).get("usage.unwritten"), 15, "the finding", INTERVAL_SECONDS
    )
    cures.look(site, finding, str(usage), status=None)
    usage.rmdir()
    cures.wait_until_gone(site, finding["key"])
