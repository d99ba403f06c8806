"""An ops repo as teams have one: edited and rendered at a desk, reviewed, pulled and applied on a host that serves."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rollouts import BOTH
from tests.e2e.sites import BIN, Site, clean_environ
from tests.e2e.traffic import HEAVY_PAUSE_SECONDS, Traffic
from tests.waiting import wait_until

NOTHING = "Nothing to do: what runs is what the files say.\n"


class Desk:
    """A clone of the host's repo, where nothing runs."""

    def __init__(self, root: Path, host: Site) -> None:
        self.root, self.host = root, host

    def run(self, *arguments: str, status: int = 0, at: Path | None = None) -> str:
        command = [str(BIN / "svc"), *arguments[1:]] if arguments[0] == "svc" else list(arguments)
        done = subprocess.run(
            command, cwd=at or self.root, env=clean_environ(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *arguments: str, at: Path | None = None) -> str:
        return self.run("git", "-c", "user.name=Ops", "-c", "user.email=ops@example.com", *arguments, at=at)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / "config" / f"{name}.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def deliver(self) -> None:
        """What was reviewed arrives on the host."""
        self.git("pull", "--quiet", "--ff-only", str(self.root), "main", at=self.host.root)

    def uncommitted(self) -> str:
        return self.git("status", "--porcelain", at=self.host.root)


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    """Two instances run on the host, from what is committed."""
    for name in ("one", "two"):
        site.mock(name, "m", "--token-delay", "0.002")  # short leases would end while a busy machine hands over
    made = Desk(Path(tempfile.mkdtemp(prefix="desk-")), site)
    made.run("svc", "render", at=site.root)
    made.git("init", "--quiet", "--initial-branch", "main", at=site.root)
    (site.root / ".gitignore").write_text("logs/\nvar/\n")
    made.git("add", "--all", at=site.root)
    made.git("commit", "--quiet", "--message", "Two instances", at=site.root)
    made.git("clone", "--quiet", str(site.root), str(made.root))
    site.svc("up")
    wait_until(lambda: site.routed() == BOTH)
    yield made
    shutil.rmtree(made.root, ignore_errors=True)


def planned(site: Site) -> dict[str, str]:
    """What `svc plan` finds to do, by part."""
    out, _ = site.svc("plan", "--json", status=None)
    return {part["name"]: part["change"] for part in json.loads(out)["parts"]}


def pids(site: Site) -> dict[str, int]:
    return {name: process.pid for name, process in site.supervisord.processes().items()}


@pytest.mark.timeout(300)
def test_an_edit_is_planned_and_applied_and_a_wrong_one_changes_nothing(desk: Desk, site: Site):
    before = pids(site)
    with Traffic(site.router, kept=True) as kept, Traffic(site.router, kept=False, stream=True) as streams:
        wait_until(lambda: kept.answered > 20 and streams.answered > 5, description="traffic")

        desk.edit("one", "'m'", "'m,extra'")
        desk.edit("two", "[backend]", "[metadata]\nzone = 'a'\n[backend]")
        desk.edit("svc", "[router]", "[router]\nmax_errors = 5")
        desk.run("svc", "check")
        desk.run("svc", "render")
        desk.commit("one serves extra as well")
        desk.deliver()
        out, _ = site.svc("plan", status=2)
        assert "--models m -> --models m,extra" in out
        assert planned(site) == {"one": "changed", "two": "changed", "router": "changed"}
        assert pids(site) == before, "what was pulled does not run yet"
        site.svc("apply", timeout=150)
        assert site.svc("plan")[0] == NOTHING
        assert desk.uncommitted() == "", "what was applied is what was reviewed, byte for byte"
        after = pids(site)
        assert {name for name in before if before[name] != after[name]} == {
            "one:server",
            "one:babysitter",
            "two:babysitter",
            "router",
        }
        wait_until(lambda: site.service("two-server")["metadata"].get("zone") == "a")
        assert site.chat("extra").ok

        desk.edit("one", "'m,extra'", "'m'")
        desk.edit("two", "port = ", "prot = ")  # nobody checked
        desk.commit("a wrong one")
        desk.deliver()
        files = site.files()
        for command in ("plan", "apply"):
            line = site.svc(command, status=1)[1]
            assert "config/two.toml: prot: unknown key; did you mean port?" in line
        assert (site.files(), pids(site)) == (files, after), "nothing has moved"
        desk.git("revert", "--no-edit", "HEAD")
        desk.deliver()
        assert site.svc("plan")[0] == NOTHING
        marks = kept.answered, streams.answered
        wait_until(
            lambda: kept.answered > marks[0] + 20 and streams.answered > marks[1] + 5, description="traffic afterwards"
        )
    assert (kept.failures, streams.failures) == ([], [])
    assert site.routed() == BOTH


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_apply_killed_between_two_instances_is_finished_later(desk: Desk, site: Site):
    before = pids(site)
    for name in ("one", "two"):
        desk.edit(name, "'m'", "'m,extra'")
    desk.run("svc", "render")
    desk.commit("both serve extra as well")
    desk.deliver()
    with (
        Traffic(site.router, kept=True, pause_seconds=HEAVY_PAUSE_SECONDS) as kept,
        Traffic(site.router, kept=False, pause_seconds=HEAVY_PAUSE_SECONDS) as fresh,
    ):
        wait_until(lambda: kept.answered > 20 and fresh.answered > 20, description="traffic")
        process = site.start("svc", "apply")
        wait_until(
            lambda: {n for n, pid in pids(site).items() if pid and pid != before[n]} >= {"one:server"}, timeout=60
        )
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        assert pids(site)["two:server"] == before["two:server"]
        assert planned(site) == {"two": "changed"}, "one has its new program"
        site.svc("apply", timeout=150)
        assert site.svc("plan")[0] == NOTHING
        assert site.routed() == BOTH, "the mark that the first one left on its instance is gone"
        assert {"one:server", "two:server"} <= {n for n, pid in pids(site).items() if pid != before[n]}
        marks = kept.answered, fresh.answered
        wait_until(
            lambda: kept.answered > marks[0] + 20 and fresh.answered > marks[1] + 20, description="traffic afterwards"
        )
    assert (kept.failures, fresh.failures) == ([], [])
    assert site.chat("extra").ok
    assert desk.uncommitted() == ""
