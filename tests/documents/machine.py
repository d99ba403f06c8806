"""A machine for a document's commands: namespaces of its own (network, processes, files) and one shell session.

Ports may be the usual ones, users may be made and files written anywhere: nothing of it is seen outside, and
everything that still runs ends with the session. Needs root.
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
PATIENCE = 90.0  # seconds for one block
TOOLS = {"ip": "iproute2", "curl": "curl", "git": "git", "unshare": "util-linux"}
UNSHARE = ("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROBE = """mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work /etc"""


@cache
def missing() -> str:
    """Why there can be no such machine here; empty where there can."""
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            return f"there is no `{tool}` (Debian: apt install {package})"
    if os.geteuid() != 0:
        return "namespaces need root"
    done = subprocess.run([*UNSHARE, "--net", "sh", "-ec", PROBE], capture_output=True, text=True)
    return f"this machine allows no namespaces: {done.stderr.strip()}" if done.returncode else ""


class Session:
    """One shell, in its working directory: `command` makes the machine around it and ends with listen.sh."""

    def __init__(self, command: Sequence[str], patience: float = PATIENCE) -> None:
        self._files = Path(tempfile.mkdtemp(prefix="machine-", dir="/tmp"))
        self._log = self._files / "log"
        self._number = 0
        self._patience = patience
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
        """What it printed. Fails where its exit code is not what the document says (0, mostly)."""
        if before := block.notes.get("before"):
            self.do(before)
        if text := block.notes.get("until"):
            return self._interrupted(block, text)
        expected = int(block.notes.get("exits", 0))
        status, said = self._do("fail" if expected else "run", block.text, block.place)
        assert status == expected, f"{block.place}: exit code {status}\n{said}"
        return said

    def do(self, text: str) -> str:
        """Commands that stand in no document."""
        status, said = self._do("run", text, text)
        assert not status, f"{text}: exit code {status}\n{said}"
        return said

    def root(self) -> Path:
        """Its files, seen from here."""
        first = Path(f"/proc/{self._shell.pid}/task/{self._shell.pid}/children").read_text().split()[0]
        return Path(f"/proc/{first}/root")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """Ends the session, and with it every process of the machine."""
        with suppress(BrokenPipeError):  # of a shell that ended with the first command that failed
            self._shell.stdin.close()
        self._shell.send_signal(signal.SIGKILL)  # --kill-child: the first process goes with it, and so all
        self._shell.wait(PATIENCE)
        self._shell.stdout.close()
        shutil.rmtree(self._files)

    def _interrupted(self, block: Block, text: str) -> str:
        """Runs it until it has said `text`, then does what Ctrl-C does."""
        begun = len(self.log())
        self._do("start", block.text, block.place)
        wait_until(lambda: text in self.log()[begun:], 30, f"{block.place}: no {text!r} in\n{self.log()[begun:]}")
        status, _ = self._do("interrupt", "", block.place)
        assert status in (0, 130), f"{block.place}: exit code {status} after Ctrl-C\n{self.log()[begun:]}"
        return self.log()[begun:]

    def _do(self, verb: str, text: str, place: str) -> tuple[int, str]:
        """The exit code, and what was printed."""
        self._number += 1
        file = self._files / f"{self._number}.sh"
        file.write_text(text)
        begun = len(self.log())
        self._shell.stdin.write(f"{verb} {file}\n")
        heard, _, _ = select.select([self._shell.stdout], [], [], self._patience)
        assert heard, f"{place}: not done after {self._patience:g} s\n{self.log()[begun:]}"
        answer = self._shell.stdout.readline()
        status = int(answer) if answer else self._shell.wait(PATIENCE)  # bash ends at the first command that fails
        return status, self.log()[begun:]


class Machine(Session):
    """`checkout` is what lies at SITE; `inside` enters a network namespace, without it there is loopback only."""

    def __init__(self, checkout: Path, site: str = SITE, inside: tuple[str, ...] = ()) -> None:
        own = () if inside else ("--net",)
        shell = ["bash", "--noprofile", "--norc", str(SCRIPT), sys.prefix, str(checkout), site]
        super().__init__([*inside, *UNSHARE, *own, *shell])
