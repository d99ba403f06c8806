"""Instances as the registry lists them, with the cures of `svc doctor`."""

import os
import signal

import pytest

from tests.e2e.doctor.diagnosis import Cures, doctor, everything, find, wait_until_healthy
from tests.e2e.doctor.servers import register
from tests.e2e.sites import Site
from tests.waiting import wait_until

AT_ONCE = {"start_phase.START_SECONDS": 0, "checks.instances.REGISTRATION_SECONDS": 0}


@pytest.mark.cures("instance.*: svc undrain *")
def test_an_instance_that_the_operator_drained(ailing: Site, cures: Cures) -> None:
    ailing.svc("drain", "one")
    wait_until(lambda: ailing.chat().status_code == 503, description="the router to hear of it")
    [cause] = doctor(ailing)
    assert (cause["key"], "drained" in cause["what"]) == ("instance.one-server", True)
    assert "503" in everything([cause])["model.m"]["what"]
    cures.apply(ailing, cause)
    wait_until_healthy(ailing)


@pytest.mark.cures("instance.*: svc remove *")
def test_an_instance_elsewhere_that_is_gone_for_good(ailing: Site, cures: Cures) -> None:
    metadata = {"type": "openai-api", "models": ["m"], "parent_service": "far"}
    register(ailing, "far-server", 1, metadata=metadata)
    finding = find(ailing, "instance.far-server")
    assert "on elsewhere: `" in finding["first"]
    cures.apply(ailing, finding)
    wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("instance.*: supervisorctl restart '*:*'", "babysitter.*: supervisorctl restart *")
def test_a_babysitter_that_hangs(ailing: Site, cures: Cures) -> None:
    for key, restarts in (("instance.one-server", ("one:*",)), ("babysitter.one", ("one:babysitter",))):
        os.kill(ailing.pid("one:babysitter"), signal.SIGSTOP)
        expired = find(ailing, "instance.one-server", limits=AT_ONCE, fix="*restart*")
        assert "expired" in expired["what"] or "unhealthy" in expired["what"]
        finding = find(ailing, key, limits=AT_ONCE, fix="*restart*")
        cures.apply(ailing, finding, restarts=restarts)
        wait_until_healthy(ailing)


@pytest.mark.long
@pytest.mark.cures("instance.*: svc services", "instance.*: supervisorctl restart *")
def test_an_instance_that_failed_a_check_of_the_registry_and_one_that_was_removed(site: Site, cures: Cures) -> None:
    """With a long lease, and a long time between two checks."""
    (site.root / "token").write_text("secret")
    (site.root / "token").chmod(0o600)
    site.mock("one", "m", heartbeat_interval=60)
    config = site.root / "config" / "svc.toml"
    changes = f'token_file = "{site.root}/token"\nhealth_interval = 8\nhealth_timeout = 1'
    config.write_text(config.read_text().replace("health_interval = 1", changes, 1))
    site.svc("up")
    babysitter = site.pid("one:babysitter")
    os.kill(babysitter, signal.SIGSTOP)
    wait_until(lambda: site.service("one-server")["health_status"] == "unhealthy", 60, "a check", interval=0.1)
    os.kill(babysitter, signal.SIGCONT)
    finding = find(site, "instance.one-server", fix="*services")
    assert "does now" in finding["what"]
    cures.look(site, finding, "one-server")
    cures.wait_until_gone(site, "instance.one-server")
    site.svc("remove", "one-server")
    finding = find(site, "instance.one-server", limits=AT_ONCE)
    assert "is not in the registry" in finding["what"]
    cures.apply(site, finding, restarts=("one:babysitter",))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("instance.*: svc up", "host.*: hostname -I")
def test_an_instance_whose_host_is_not_this_machine(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(f'host = "192.0.2.77"\n{before}')  # an address of no machine: RFC 5737
    site.svc("up", "--timeout", "8", status=None)
    finding = find(site, "instance.one-server", fix="*up")
    assert "cannot reach it at http://192.0.2.77" in finding["what"]
    host = find(site, "host.one")
    assert "no address of this machine" in host["what"]
    cures.look(site, host, ".")
    toml.write_text(before)
    cures.apply(site, finding, restarts=("one:*",))
    assert "host.one" not in everything(doctor(site, status=None))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("host.*: hostname -I")
def test_an_instance_whose_host_is_a_name_that_is_not_known(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    toml = site.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(f'host = "no-such-machine.invalid"\n{before}')
    site.svc("up", "--timeout", "3", status=None)
    finding = find(site, "host.one")
    assert "cannot resolve" in finding["what"]
    cures.look(site, finding, ".")
    toml.write_text(before)
    site.svc("up")
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures("loopback.*: svc services show *")
def test_an_instance_elsewhere_that_is_registered_as_loopback(ailing: Site, site: Site, cures: Cures) -> None:
    """A host with a router alone, whose registry lists an instance of another host as 127.0.0.1."""
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text() + f'[launch]\ncomponents = "router"\nregistry_url = "{ailing.registry}"\n')
    site.svc("up")
    finding = find(site, "loopback.one-server")
    assert "localhost" in cures.look(site, finding, "one-server")


@pytest.mark.long
@pytest.mark.parametrize(
    "has_token",
    [
        pytest.param(True, marks=pytest.mark.cures("babysitter.*: svc remove *", "owner.*: svc remove *")),
        pytest.param(
            False, marks=pytest.mark.cures("babysitter.*: svc services show *", "owner.*: svc services show *")
        ),
    ],
)
def test_an_instance_whose_name_another_one_has(site: Site, cures: Cures, has_token: bool) -> None:
    token = site.root / "token"
    token.write_text("secret")
    token.chmod(0o600)
    config = site.root / "config" / "svc.toml"
    if has_token:
        config.write_text(config.read_text().replace("[registry]", f'[registry]\ntoken_file = "{token}"'))
    site.mock("one", heartbeat_interval=1)
    site.svc("up")
    for key in ("owner.one", "babysitter.one"):
        site.run("supervisorctl", "stop", "one:*")
        wait_until(lambda: not site.service("one"), description="the deregistration")
        lease = 3600 if has_token else 15
        register(site, "one", lease)
        register(site, "one-server", lease, metadata={"type": "openai-api", "parent_service": "one"})
        site.run("supervisorctl", "start", "one:*")
        finding = find(site, key, fix="*remove*" if has_token else "*show*")
        assert "config/one.toml" in finding["first"]
        assert "http://127.0.0.1:9 on elsewhere" in find(site, "babysitter.one", fix="*s*one*")["what"]
        if has_token:
            cures.apply(site, finding, restarts=("one:babysitter",))  # its registration changes, too
        else:
            cures.look(site, finding, "elsewhere", changing=("one:babysitter",))  # the lease of the other one ends
        wait_until_healthy(site)
