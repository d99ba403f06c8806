"""Registries that do not answer, refuse, or are no registries, with the cures of `svc doctor`."""

import os
import signal
from pathlib import Path

import pytest

from svc.base import procfs
from tests.e2e.doctor.diagnosis import INTERVAL_SECONDS, Cures, doctor, everything, find, wait_until_healthy
from tests.e2e.doctor.servers import json_server, register
from tests.e2e.sites import Site
from tests.waiting import free_port, other_address, wait_until

AT_ONCE = {"start_phase.START_SECONDS": 0}
REGISTRY_HEALTH = {"registry": "running", "status": "healthy"}


def instance_host(site: Site, *registries: str) -> None:
    """Make the site one of an instance alone, whose registries are others."""
    listed = ",".join(registries)
    (site.root / "config" / "svc.toml").write_text(f'[launch]\ncomponents = "babysitter"\nregistry_url = "{listed}"\n')
    site.mock("other", "o", heartbeat_interval=1)


def keyed_registry(site: Site, setting: str = "token_file") -> Path:
    """Let the registry listen on all addresses, and want a token from other machines; return the token's file."""
    token = site.root / "token"
    token.write_text("right")
    token.chmod(0o600)
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text().replace("[registry]", f'[registry]\nhost = "0.0.0.0"\n{setting} = "{token}"'))
    return token


@pytest.mark.long
@pytest.mark.cures("registry.silent: supervisorctl restart registry")
def test_a_registry_that_hangs(ailing: Site, cures: Cures) -> None:
    pid = ailing.pid("registry")
    workers = [child for child in procfs.process_ids() if pid in procfs.ancestors(child)]
    for process in (pid, *workers):
        os.kill(process, signal.SIGSTOP)
    finding = find(ailing, "registry.silent")
    cures.apply(ailing, finding, restarts=("registry",))
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("registry.silent: curl -sS -m 5 */health")
def test_a_registry_on_another_machine_that_is_away(site: Site, cures: Cures) -> None:
    instance_host(site, f"http://127.0.0.1:{free_port()}")
    site.svc("up")
    finding = find(site, "registry.silent")
    assert "connection refused" in finding["why"]
    wait_until(lambda: "babysitter.other" in everything(doctor(site)), 30, "the babysitter to notice", INTERVAL_SECONDS)
    assert [f["key"] for f in doctor(site) if f["severity"] == "problem"] == ["registry.silent"]
    cures.look(site, finding, "onnect", status=7)


@pytest.mark.long
@pytest.mark.cures(
    "registry.mute.*: curl -sS -m 5 */health",
    "registry.schema.*: curl -sS */services",
    "registry.other.*: svc apply",
)
def test_one_of_two_registries_that_is_away_or_no_registry(ailing: Site, site: Site, cures: Cures) -> None:
    other = f"http://127.0.0.1:{free_port()}"
    instance_host(site, ailing.registry, other)
    site.svc("up", "--timeout", "10", status=None)
    cures.look(site, find(site, f"registry.mute.{other}"), "onnect", status=7)
    port = int(other.rpartition(":")[2])
    with json_server(port, {"/health": REGISTRY_HEALTH, "/services": {"entries": []}}):
        cures.look(site, find(site, f"registry.schema.{other}"), "entries")
    with json_server(port, {"/health": {"status": "ok"}}):
        finding = find(site, f"registry.other.{other}")
        config = site.root / "config" / "svc.toml"
        config.write_text(config.read_text().replace(f",{other}", ""))
        cures.apply(site, finding, restarts=("other:babysitter",))


@pytest.mark.long
@pytest.mark.cures("registry.condition.*: curl -sS */health")
def test_a_registry_that_reports_a_problem(site: Site, cures: Cures) -> None:
    """With a copy of a store that it could not read."""
    site.mock("one", heartbeat_interval=1)
    (site.root / "var").mkdir()
    (site.root / "var" / "registry.db").write_text("this is no database, for sure")
    site.svc("up")
    finding = find(site, f"registry.condition.http://127.0.0.1:{site.registry_port}")
    cures.look(site, finding, "degraded")
    for path in (site.root / "var").glob("*corrupt*"):
        path.unlink()
    cures.wait_until_gone(site, finding["key"])
    wait_until_healthy(site)


@pytest.mark.cures("registry.write.*: svc doctor")
def test_an_instance_with_a_wrong_token(site: Site, cures: Cures) -> None:
    """From another machine, as the registry sees it: its own address is not loopback's."""
    here = other_address()
    keyed_registry(site)
    copy = site.root / "copy"
    copy.write_text("wrong")
    copy.chmod(0o600)
    config = site.root / "config" / "svc.toml"
    site.mock("one", heartbeat_interval=1)
    config.write_text(config.read_text() + f'[launch]\nregistry_url = "http://{here}:{site.registry_port}"\n')
    toml = site.root / "config" / "one.toml"
    served = toml.read_text().replace("'--port'", "'--host', '0.0.0.0', '--port'")
    toml.write_text(f'host = "{here}"\ntoken_file = "{copy}"\n{served}')
    site.svc("up", "--timeout", "3", status=1)

    def refusal_with_its_babysitter() -> dict:
        finding = everything(doctor(site, status=None)).get(f"registry.write.{copy}", {})
        return finding if "babysitter.one" in everything([finding] if finding else []) else {}

    refusal = wait_until(refusal_with_its_babysitter, 30, "the refusal and the babysitter that it explains")
    assert str(copy) in refusal["what"]
    assert doctor(site)[0]["key"] == refusal["key"]
    copy.write_text("right")
    cures.apply(site, refusal, status=None)
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("registry.write.*: svc apply")
def test_an_instance_without_a_token(site: Site, cures: Cures) -> None:
    here = other_address()
    token = keyed_registry(site)
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text() + f'[launch]\nregistry_url = "http://{here}:{site.registry_port}"\n')
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    before = toml.read_text().replace("'--port'", "'--host', '0.0.0.0', '--port'")
    toml.write_text(f'host = "{here}"\n{before}')
    site.svc("up", "--timeout", "3", status=1)
    finding = find(site, "registry.write.")
    assert 'token_file = "FILE"' in finding["first"]
    toml.write_text(f'host = "{here}"\ntoken_file = "{token}"\n{before}')
    cures.apply(site, finding, restarts=("one:babysitter",))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("registry.read: svc up")
def test_a_router_without_the_token_to_read_a_registry(site: Site, second: Site, cures: Cures) -> None:
    here = other_address()
    token = keyed_registry(site, "read_token_file")
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    config = second.root / "config" / "svc.toml"
    settings = f'[launch]\ncomponents = "router"\nregistry_url = "http://{here}:{site.registry_port}"\n'
    config.write_text(config.read_text() + settings)
    second.svc("up", "--timeout", "3", status=1)
    finding = find(second, "registry.read")
    assert "registry_token_file under [router]" in finding["first"]
    given = f'[router]\nregistry_token_file = "{token}"\n'
    config.write_text(config.read_text().replace("[router]\n", given))
    cures.apply(second, finding, restarts=("router",), leaves=("loopback.*",))


@pytest.mark.long
@pytest.mark.cures("registry.condition.*: svc services expire")
def test_a_registry_that_keeps_the_leases_of_many_silent_services(ailing: Site, cures: Cures) -> None:
    for number in range(8):
        register(ailing, f"far{number}", 2)
    finding = find(ailing, f"registry.condition.http://127.0.0.1:{ailing.registry_port}", fix="*expire")
    assert "svc services expire`" in finding["why"]
    cures.apply(ailing, finding)
    for number in range(8):
        ailing.svc("remove", f"far{number}", status=None)
    wait_until_healthy(ailing)
