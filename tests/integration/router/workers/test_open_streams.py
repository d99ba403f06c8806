import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

WORKERS, PROGRAMS = 4, 4


class StreamProgram:
    """One process of `open_streams`."""

    def __init__(self, streams: int) -> None:
        command = [sys.executable, "-m", "tests.integration.router.workers.open_streams", str(streams)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __enter__(self) -> "StreamProgram":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def memory_kb(own: Router) -> int:
    """Return the kilobytes of all processes of a router, with shared memory counted once (PSS)."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (own.process.pid, *own.processes())]
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in rollups)


@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_streams_over_several_processes_all_complete(tmp_path, count, record_property):
    with ExitStack() as stack:
        programs = [stack.enter_context(StreamProgram(count // PROGRAMS)) for _ in range(PROGRAMS)]
        services = [service(f"i{number}", int(program.line()), "m") for number, program in enumerate(programs)]
        path = static(tmp_path / "static.json", services)
        own = stack.enter_context(router("--workers", WORKERS, "--static-services", path, "--health-interval", 600))
        idle = memory_kb(own)
        for program in programs:
            program.tell(own.port)
        assert [program.line() for program in programs] == ["open"] * PROGRAMS
        assert own.in_flight() == count
        record_property("idle_mb", round(idle / 1024))
        record_property("kb_a_stream", round((memory_kb(own) - idle) / count, 1))
        for program in programs:
            program.tell("end")
        assert sum(int(program.line()) for program in programs) == count
        wait_until(lambda: own.in_flight() == 0, description="the counts to be released")
        own.assert_no_exception()
