"""The secret by which the registry knows a babysitter: kept, sent, and shown to nobody."""

import signal
import stat
from pathlib import Path

from tests.integration.babysitter.conftest import SVC, Running
from tests.integration.fakes import mock
from tests.processes import members
from tests.waiting import free_port_pair, wait_until

MOCK = 'type = "mock"\nmodels = ["a"]\n'


def test_a_babysitter_that_was_killed_is_known_again_and_another_of_its_name_is_not(
    babysitter, registry, port, tmp_path
):
    with mock("q", ["a"], port):
        first = babysitter(registry.url)
        registry.await_status("q-server", "running")
        path = tmp_path / "var" / "q.secret"
        secret = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        toml = elsewhere / "q.toml"
        toml.write_text((tmp_path / "q.toml").read_text().replace(f"port = {port}", f"port = {free_port_pair()}"))
        other = Running([*SVC, "babysitter", "--config-file", toml], elsewhere, elsewhere / "log")
        try:
            wait_until(
                lambda: "belongs to the babysitter on" in other.said(), description="it is told that the name is taken"
            )
            assert registry.client.get("q")["port"] == port + 1
            assert other.end() == 0
        finally:
            other.leave_nothing()
        assert registry.status("q-server") == "running"

        first.end(signal.SIGKILL)
        second = babysitter(registry.url)
        wait_until(lambda: second.said().count("registered q-server") >= 2, description="it registered again")
        assert "belongs to" not in second.said()
        assert path.read_text() == secret
        assert second.end() == 0
        assert registry.status("q") is None


def test_nothing_that_is_written_listed_or_started_holds_it(site, registry):
    it = site(MOCK)
    registry.await_status("q-server", "running")
    secret = (it.root / "var" / "q.secret").read_text().strip()
    holders = [p.name for p in it.root.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    assert holders == ["q.secret"]
    for pid in members(it.running.process.pid):
        for shown in ("cmdline", "environ"):
            assert secret.encode() not in Path(f"/proc/{pid}/{shown}").read_bytes()
    assert secret not in str(registry.client.services())
    for path in registry.root.iterdir():
        assert secret.encode() not in path.read_bytes()
