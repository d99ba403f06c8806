"""Models that are not found, and requests that fail, with the cures of `svc doctor`."""

import json

import pytest

from tests.e2e.doctor.diagnosis import Cures, doctor, everything, find, run_command, stop_server, wait_until_healthy
from tests.e2e.sites import Site, http
from tests.waiting import wait_until


@pytest.mark.cures("model.*: curl -sS* */v1/models")
def test_a_misspelt_model_is_found_with_the_closest_name(ailing: Site, cures: Cures) -> None:
    [finding] = doctor(ailing, "--model", "M")
    assert finding["key"] == "model.M"
    assert "did you mean m?" in finding["first"]
    assert '"id":"m"' in cures.look(ailing, finding).replace(" ", "")


@pytest.mark.long
@pytest.mark.cures("model.*: curl -sS* */v1/models")
def test_a_model_of_a_router_that_requires_keys(ailing: Site, site: Site, cures: Cures) -> None:
    """And that has static services, which are in no registry, so that its list alone says which models it has."""
    (site.root / "config" / "static.json").write_text(json.dumps({"services": []}))
    config = site.root / "config" / "svc.toml"
    settings = 'keys_file = "var/keys.toml"\nstatic_services = "config/static.json"\n'
    config.write_text(config.read_text().replace("[router]\n", f"[router]\n{settings}"))
    site.mock("one", heartbeat_interval=1)
    key = site.svc("keys", "add", "team")[0].strip()
    site.svc("up")
    finding = find(site, "model.x", "--model", "x")
    assert "Bearer KEY" in finding["fix"]
    assert "401" in cures.look(site, finding) or "key" in cures_answer(site, finding, "KEY")
    assert '"id":"m"' in cures_answer(site, finding, key).replace(" ", "")


def cures_answer(site: Site, finding: dict, key: str) -> str:
    return run_command(site, finding["fix"].replace("KEY", key))


@pytest.mark.cures("model.*: svc up")
def test_a_model_of_a_file_that_was_not_applied(ailing: Site, cures: Cures) -> None:
    port = ailing.mock("three", "fresh", heartbeat_interval=1)
    finding = find(ailing, "model.fresh", "--model", "fresh")
    assert "three" in finding["why"]
    cures.apply(ailing, finding, "--model", "fresh")
    assert ailing.chat("fresh").ok
    assert port
    (ailing.root / "config" / "three.toml").unlink()
    ailing.svc("up")


@pytest.mark.long
@pytest.mark.cures("model.*: svc status")
def test_a_model_whose_instance_is_stopped(ailing: Site, cures: Cures) -> None:
    stop_server(ailing)
    finding = find(ailing, "model.m", fix="*status")
    cures.look(ailing, finding, "STOPPED", status=1)
    ailing.run("supervisorctl", "start", "one:server")
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("model.: svc status")
def test_a_router_without_an_instance(site: Site, cures: Cures) -> None:
    site.svc("up")
    cures.look(site, find(site, "model."), "router", status=None)


@pytest.mark.cures("alias.*: svc up")
def test_an_alias_of_a_model_that_no_instance_serves(ailing: Site, cures: Cures) -> None:
    config = ailing.root / "config" / "svc.toml"
    before = config.read_text()
    config.write_text(before + '[router.aliases]\ngpt = "x"\n')
    ailing.svc("up")
    assert ailing.chat("gpt").status_code == 503
    [finding] = doctor(ailing)
    assert finding["key"] == "alias.gpt"
    config.write_text(before + '[router.aliases]\ngpt = "m"\n')
    cures.apply(ailing, finding, restarts=("router",))
    wait_until(lambda: ailing.chat("gpt").ok, description="the alias")
    wait_until_healthy(ailing)


def failing(site: Site) -> bool:
    return any(service["failing"] for service in http.get(f"{site.router}/services", timeout=5).json()["services"])


@pytest.mark.cures("failing.*: supervisorctl restart *", "poisoned: svc events --kind poisoned")
def test_an_instance_that_answers_500_and_a_request_that_killed_instances(site: Site, cures: Cures) -> None:
    site = Site(site.root, 'failing_instances = "mark"\n')
    for name in ("one", "two"):
        site.mock(name, heartbeat_interval=1)
    site.svc("up")
    http.post(f"{site.service('one-server')['url']}/mock/behave", json={"fail_status": 500}, timeout=5)
    wait_until(lambda: site.chat().status_code == 500 and failing(site), 30, "the mark", interval=0)
    status = json.loads(site.svc("status", "--json", status=1)[0])
    assert {row["name"]: row["health"] for row in status["programs"]}["one:server"] == "failing"
    [problem] = status["problems"]
    assert problem.startswith("one:server: failing: most of its last answers are 500")

    def findings() -> list:
        for _ in range(4):  # the mark is of the last answers only, so it does not outlast a pause of requests
            site.chat()
        return doctor(site, status=None)

    [cause] = wait_until(findings, 30, "the finding")
    assert (cause["key"], cause["severity"]) == ("failing.one-server", "problem")
    event = {"kind": "poisoned", "service": "two-server", "source": "router", "message": "by request r-1 of key team"}
    http.post(f"{site.registry}/events", json={"events": [event]}, timeout=5).raise_for_status()
    poisoned = everything(doctor(site, status=None))["poisoned"]
    assert "by request r-1 of key team" in poisoned["why"]
    cures.look(site, poisoned, "r-1")
    cures.apply(site, cause, restarts=("one:server",))
    wait_until(lambda: not failing(site), timeout=45, description="the restarted instance")


@pytest.mark.long
@pytest.mark.cures("failing.*: svc services show *")
def test_an_instance_elsewhere_that_answers_500(ailing: Site, site: Site, cures: Cures) -> None:
    """At a host with a router alone, where nothing can restart the instance."""
    config = site.root / "config" / "svc.toml"
    settings = f'failing_instances = "mark"\n[launch]\ncomponents = "router"\nregistry_url = "{ailing.registry}"\n'
    config.write_text(config.read_text() + settings)
    ailing.mock("three", "m", heartbeat_interval=1)
    ailing.svc("up")
    site.svc("up")
    wait_until(lambda: len(site.routed()) == 3, 30, "the router to use all")
    url = ailing.service("three-server")["url"]
    http.post(f"{url}/mock/behave", json={"fail_status": 500}, timeout=5)
    wait_until(lambda: site.chat().status_code == 500 and failing(site), 30, "the mark", interval=0)
    finding = find(site, "failing.three-server")
    assert "on its machine: read logs/server_three.log" in finding["first"]
    cures.look(site, finding, "three-server")
    (ailing.root / "config" / "three.toml").unlink()
    ailing.svc("up")
