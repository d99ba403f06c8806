import fcntl
import json
import os
import subprocess
import sys
import time

PROCESSES = 3
LINES = 200  # of each process; together they are far longer than the pipe takes at once
WRITER = f"""
import os
from svc.router.telemetry.access_log import AccessLog
from tests.unit.router.telemetry.records import record
log = AccessLog("-", text=False)
for number in range({LINES}):
    log.add(record(id=str(number), path="/v1/" + "x" * (number % 100)))
os.write(2, b".")
log.flush()
"""


def test_lines_of_several_processes_stay_whole_in_a_full_pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    started_reading, started_writing = os.pipe()
    command = [sys.executable, "-c", WRITER]
    processes = [subprocess.Popen(command, stdout=writing, stderr=started_writing) for _ in range(PROCESSES)]
    os.close(writing)
    os.close(started_writing)
    for _ in range(PROCESSES):
        assert os.read(started_reading, 1) == b"."
    time.sleep(0.1)  # each process blocks in its write
    with os.fdopen(started_reading), os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines()
    assert [process.wait(10) for process in processes] == [0] * PROCESSES
    assert sorted(int(json.loads(line)["id"]) for line in lines) == sorted(list(range(LINES)) * PROCESSES)
