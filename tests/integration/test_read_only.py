"""Servers in a directory of which only var/ is writable, on a machine without a writable directory for temporary files.

So they run in a read-only container, as the command of the image.
"""

import os
import shutil
import signal
import subprocess

import pytest
import requests

from tests.e2e.sites import BIN, clean_environ
from tests.waiting import free_port_pair, wait_until

READ_ONLY = 'mount --bind "$0/var" "$0/var" && mount -o remount,bind,ro / && cd "$0" && exec "$@"'


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a svc command in the namespace; the process is ended after the test."""
    if os.geteuid() != 0 or not shutil.which("unshare") or any(map(os.path.ismount, ("/tmp", "/var/tmp"))):
        pytest.skip("needs root, and temporary directories on the root file system")
    (tmp_path / "var").mkdir()
    processes = []

    def start(*arguments):
        command = ["unshare", "--mount", "sh", "-c", READ_ONLY, str(tmp_path), str(BIN / "svc"), *arguments]
        environ = {key: value for key, value in clean_environ().items() if key != "TMPDIR"}
        processes.append(subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("arguments", [["registry"], ["router", "--registry-url", "http://127.0.0.1:1"]])
def test_registry_and_router_run_with_var_alone(start, arguments):
    port = free_port_pair()
    process = start(*arguments, "--port", str(port))

    def answers():
        assert process.poll() is None, process.stdout.read().decode()
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
        except requests.ConnectionError:
            return None

    wait_until(answers, timeout=30, description="an answer")
    process.terminate()
    assert process.wait(30) == 0
