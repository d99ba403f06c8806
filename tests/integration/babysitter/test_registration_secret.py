"""The secret that proves to the registry that a babysitter owns its names: stored, sent, and never disclosed."""

import signal
import stat
from pathlib import Path

from tests.integration.babysitter.processes import SVC, LoggedProcess
from tests.integration.fakes import mock
from tests.processes import members
from tests.waiting import free_port_pair, wait_until

MOCK = 'type = "mock"\nmodels = ["a"]\n'


def test_a_killed_babysitter_keeps_its_name_and_another_does_not_get_it(babysitter, registry, port, tmp_path):
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
        other = LoggedProcess([*SVC, "babysitter", "--config-file", toml], elsewhere, elsewhere / "log")
        try:
            wait_until(
                lambda: "belongs to the babysitter on" in other.output(),
                description="the log says that the name is taken",
            )
            assert registry.client.get("q")["port"] == port + 1
            assert other.end() == 0
        finally:
            other.kill_all()
        assert registry.status("q-server") == "running"

        first.end(signal.SIGKILL)
        second = babysitter(registry.url)
        wait_until(lambda: second.output().count("registered q-server") >= 2, description="it registered again")
        assert "belongs to" not in second.output()
        assert path.read_text() == secret
        assert second.end() == 0
        assert registry.status("q") is None


def test_no_file_process_or_registration_contains_the_secret(site, registry):
    running_site = site(MOCK)
    registry.await_status("q-server", "running")
    secret = (running_site.root / "var" / "q.secret").read_text().strip()
    holders = [p.name for p in running_site.root.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
    assert holders == ["q.secret"]
    for pid in members(running_site.running.process.pid):
        for source in ("cmdline", "environ"):
            assert secret.encode() not in Path(f"/proc/{pid}/{source}").read_bytes()
    assert secret not in str(registry.client.services())
    for path in registry.root.iterdir():
        assert secret.encode() not in path.read_bytes()
