"""A vendor's tool that works, fails, hangs, prints without end, or is not there."""

import os
import subprocess
import sys
import time

import pytest

from svc.base import procfs
from svc.base.gpus.tool_process import ToolProcess, tool_environment
from tests.waiting import wait_until


@pytest.fixture
def script(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return write


def test_the_output_is_separate_from_warnings(script):
    output = ToolProcess().run([script("echo warning >&2; echo $1"), "0, GPU"], 5)
    assert output == ("0, GPU\n", "", False)


def test_a_failure_has_the_tools_own_words(script):
    output = ToolProcess().run(
        [script("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")], 5
    )
    assert output.problem == "nvidia-smi fails: Failed to initialize NVML: Driver/library version mismatch"
    assert ToolProcess().run([script("exit 9")], 5).problem == "nvidia-smi fails: exit code 9"


def test_a_missing_tool_is_a_problem(tmp_path):
    output = ToolProcess().run([str(tmp_path / "mx-smi")], 5)
    assert output.problem == "cannot run mx-smi: No such file or directory"


def test_a_tool_that_hangs_is_killed_with_all_that_it_has_started(script, tmp_path):
    pids = tmp_path / "pids"
    begun = time.monotonic()
    output = ToolProcess().run([script(f"sleep 60 & echo $$ $! >{pids}; wait")], 0.3)
    assert time.monotonic() - begun < 5
    assert (output.problem, output.hangs) == ("nvidia-smi does not answer within 0.3 s", True)
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda pid=pid: not os.path.exists(f"/proc/{pid}") or procfs.stat(pid).has_ended)


def test_a_tool_that_closes_its_output_and_hangs_is_killed_too(script):
    assert ToolProcess().run([script("exec >&- 2>&-; exec sleep 60")], 0.3).hangs


def test_a_tool_that_prints_without_end_is_killed(script):
    output = ToolProcess().run([script("exec yes")], 10)
    assert output == ("", "nvidia-smi prints over 4 MB", False)


def test_while_a_process_cannot_be_killed_no_other_one_is_started(script, tmp_path, monkeypatch):
    tool = ToolProcess()
    started = tmp_path / "started"
    command = [script(f"echo $$ >>{started}; exec sleep 60")]
    monkeypatch.setattr("svc.base.gpus.tool_process.REAP_SECONDS", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr("svc.base.gpus.tool_process.signal.SIGKILL", 0)  # as if the driver held the process
        tool.run(command, 0.3)
        assert tool.run(command, 0.3).problem.endswith(") hangs, and kill -9 does not end it")
    (pid,) = map(int, started.read_text().split())
    os.kill(pid, 9)
    wait_until(lambda: tool.run([script("echo ok")], 5).text == "ok\n")


def test_the_systems_python_comes_before_ours():
    own = os.path.dirname(sys.executable)
    path = tool_environment({"PATH": f"{own}:/opt/rocm/bin:/usr/bin"})["PATH"]
    assert path == f"/opt/rocm/bin:/usr/bin:{own}"
    assert tool_environment({"PATH": "/usr/bin"})["PATH"] == "/usr/bin"


UNDER_GEVENT = """
from svc.base.gevent_patch import patch_all
patch_all()
import gevent, sys, time
from svc.base.gpus.tool_process import ToolProcess
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)
gevent.spawn(tick)
tool = ToolProcess()
slow = tool.run(["sh", "-c", "sleep 0.3; echo slow"], 5)
assert slow.text == "slow\\n" and len(ticks) > 10, (slow, len(ticks))
begun = time.monotonic()
assert tool.run(["sh", "-c", "sleep 60"], 0.2).hangs and time.monotonic() - begun < 5
assert tool.run(["sh", "-c", "echo fails; exit 3"], 5).problem == "sh fails: fails"
"""


def test_under_gevent_other_greenlets_run_meanwhile():
    subprocess.run([sys.executable, "-c", UNDER_GEVENT], check=True, timeout=60)
