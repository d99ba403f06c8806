"""A machine for a document's commands: its own namespaces (network, processes, files) and one shell session.

The commands may use the usual ports, create users and write files anywhere: nothing is visible outside, and all
processes end with the session. Needs root.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.documents.blocks import Block
from tests.waiting import wait_until

SCRIPT = Path(__file__).with_name("machine.sh")
SITE = "/root/infinilm-svc"
BLOCK_TIMEOUT_SECONDS = 90.0
TOOLS = {"ip": "iproute2", "curl": "curl", "git": "git", "unshare": "util-linux"}
UNSHARE = ("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROBE = """mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc"""


@cache
def missing() -> str:
    """Return why this host cannot have such a machine; "" where it can."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            return f"there is no `{tool}` (Debian: apt install {package})"
    if os.geteuid() != 0:
        return "namespaces need root"
    done = subprocess.run([*UNSHARE, "--net", "sh", "-ec", PROBE], capture_output=True, text=True)
    return f"this machine allows no namespaces: {done.stderr.strip()}" if done.returncode else ""


class Session:
    """One shell: `command` creates or enters the machine and runs listen.sh in it.

    `files` is the session's own directory, and `inside` its path for the shell.
    """

    def __init__(
        self,
        command: Sequence[str],
        timeout: float = BLOCK_TIMEOUT_SECONDS,
        files: Path | None = None,
        inside: str = "",
    ) -> None:
        self._files = files or Path(tempfile.mkdtemp(prefix="machine-", dir="/tmp"))
        self._inside = inside or str(self._files)
        self._log = self._files / "log"
        self._number = 0
        self._timeout = timeout
        with self._log.open("wb") as log:
            self._shell = subprocess.Popen(
                command,
                env={"PATH": PATH, "LANG": "C.UTF-8"},
                cwd=self._files,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )

    def run(self, block: Block) -> str:
        """Run a block and return its output; fail where its exit code is not that of the document, by default 0."""
        if before := block.notes.get("before"):
            self.do(before)
        if text := block.notes.get("until"):
            return self._interrupted(block, text)
        expected = int(block.notes.get("exits", 0))
        status, output = self._do("fail" if expected else "run", block.command, block.place)
        assert status == expected, f"{block.place}: exit code {status}\n{output}"
        return output

    def do(self, text: str) -> str:
        """Run commands that are in no document, and return their output."""
        status, output = self._do("run", text, text)
        assert not status, f"{text}: exit code {status}\n{output}"
        return output

    def root(self) -> Path:
        """Return the directory of its files on this host."""
        first = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text().split()[0]
        return Path(f"/proc/{first}/root")

    def ended(self) -> bool:
        """Return whether the shell has ended, as it does when a block fails."""
        return self._shell.poll() is not None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """End the session, and with it every process of the machine."""
        with suppress(BrokenPipeError):  # the shell ends at the first command that fails
            self._shell.stdin.close()
        self._shell.send_signal(signal.SIGKILL)  # --kill-child ends the first process, and so all
        self._shell.wait(BLOCK_TIMEOUT_SECONDS)
        self._shell.stdout.close()
        shutil.rmtree(self._files)

    def _interrupted(self, block: Block, text: str) -> str:
        """Run a block until it has printed `text`, then interrupt it as Ctrl-C does."""
        start = len(self.log())
        self._do("start", block.command, block.place)
        wait_until(
            lambda: text in self.log()[start:], 30, lambda: f"{block.place}: no {text!r} in\n{self.log()[start:]}"
        )
        status, _ = self._do("interrupt", "", block.place)
        assert status in (0, 130), f"{block.place}: exit code {status} after Ctrl-C\n{self.log()[start:]}"
        return self.log()[start:]

    def _do(self, verb: str, text: str, place: str) -> tuple[int, str]:
        """Return the exit code and the output."""
        self._number += 1
        file = self._files / f"{self._number}.sh"
        file.write_text(text)
        start = len(self.log())
        self._shell.stdin.write(f"{verb} {self._inside}/{file.name}\n")
        answered = select.poll()  # `select.select` takes no descriptor from 1024 on
        answered.register(self._shell.stdout, select.POLLIN)
        assert answered.poll(self._timeout * 1000), f"{place}: not done after {self._timeout:g} s\n{self.log()[start:]}"
        answer = self._shell.stdout.readline()
        status = (
            int(answer) if answer else self._shell.wait(BLOCK_TIMEOUT_SECONDS)
        )  # bash ends at the first command that fails
        return status, self.log()[start:]


class Machine(Session):
    """A machine with a copy of `checkout` at SITE, in the network namespace that `inside` enters, if any."""

    def __init__(self, checkout: Path, site: str = SITE, inside: tuple[str, ...] = ()) -> None:
        new_network = () if inside else ("--net",)
        shell = ["bash", "--noprofile", "--norc", str(SCRIPT), sys.prefix, str(checkout), site]
        super().__init__([*inside, *UNSHARE, *new_network, *shell])
