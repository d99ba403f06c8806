"""The command of the image without the image: as pid 1 of a minimal environment; it needs tini and root."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import dockerfile
from tests.e2e.sites import BIN, Site
from tests.waiting import wait_until

# The volume is mounted first. Then the mounts in the arguments before `--` become read-only, in this namespace alone:
# without `bind`, the whole machine's would.
READ_ONLY = """
set -e
mount --bind var var
while [ "$1" != -- ]; do mount -o remount,bind,ro "$1"; shift; done
shift
exec "$@"
"""


class Container:
    """A container whose /app is `site`, with its output in the file `out`.

    With `read_only`, only the site's var/ is writable, as with `docker run --read-only`; this needs `apart`.
    """

    def __init__(self, site: Site, read_only: bool = False, **environ: str) -> None:
        self.site = site
        self.apart = os.geteuid() == 0 and shutil.which("tini") is not None
        command = dockerfile.command()
        if not self.apart:
            command = command[command.index("--") + 1 :]  # tini is to be pid 1, or nothing
        apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"] if self.apart else []
        if read_only:
            if not self.apart:
                pytest.skip("a read-only container needs root, and Debian's tini")
            (site.root / "var").mkdir()
            apart += ["sh", "-c", READ_ONLY, "sh", *_mounts(site.root), "--"]
        mine = {key: os.environ[key] for key in ("PYTHONPATH",) if key in os.environ}  # where the tested svc is
        path = f"{BIN}:{dockerfile.PATH.parent}:/usr/bin:/bin"  # the image has svc-entrypoint in its PATH
        self.environ = {"PATH": path, **mine, **dockerfile.environ(), **environ}
        self.log = site.root / "stdout"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*apart, *command],
                cwd=site.root,
                env=self.environ,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def out(self) -> str:
        return self.log.read_text()

    def pid(self) -> int:
        """Return the pid that Docker would signal."""
        if not self.apart:
            return self.process.pid
        of = self.process.pid
        return int(wait_until(Path(f"/proc/{of}/task/{of}/children").read_text, description="pid 1").split()[0])

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `docker exec` does."""
        # With --wd, nsenter would open the directory on the outer mount, which is writable.
        enter = ["nsenter", "--target", str(self.pid()), "--pid", "--mount"] if self.apart else []
        inside = [*enter, "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(self.site.root)]
        return subprocess.run(
            [*inside, *command], cwd=self.site.root, env=self.environ, capture_output=True, text=True, timeout=30
        )

    def ready(self) -> None:
        def look() -> bool:
            assert self.process.poll() is None, self.out
            return "all is ready" in self.out

        wait_until(look, timeout=60, description="all is ready")

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        os.kill(self.pid(), signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(60)

    def zombies(self) -> Iterator[str]:
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                name, _, rest = path.read_text().rpartition(")")
                same = os.readlink(path.parent / "ns" / "pid") == os.readlink(f"/proc/{self.pid()}/ns/pid")
            except OSError:
                continue
            if same and rest.split()[0] == "Z":
                yield name


def _mounts(root: Path) -> list[str]:
    """Return the mount points of the root, of the site and of every directory for temporary files."""
    writable = (root, *map(Path, ("/", "/tmp", "/var/tmp", "/usr/tmp")))
    return sorted({str(next(path for path in (place, *place.parents) if path.is_mount())) for place in writable})
