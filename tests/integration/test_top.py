"""`svc top` before a real router."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
import requests

from tests.integration.fakes import mock
from tests.integration.router.routers import BIN, router, service, static
from tests.waiting import free_port, until

ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with mock("one", ["m"]) as backend:
        path = static(tmp_path_factory.mktemp("top") / "static.json", [service("one", backend.port, "m")])
        with router("--static-services", path) as running:
            yield running


def top(url: str, *words: str) -> list[str]:
    return [str(BIN / "svc"), "top", "--router-url", url, *words]


def test_json_tells_the_rates(own, tmp_path):
    words = top(own.url, "--json", "-n", "2", "--every", "0.5")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        for _ in range(5):
            requests.post(f"{own.url}/v1/chat/completions", json=ASK, timeout=10)
        second = json.loads(process.stdout.readline())
        assert process.wait(10) == 0
    assert first["url"] == own.url
    assert set(second["models"]["m"]) == {"requests", "errors", "tokens", "first_token", "queue", "instances"}
    assert set(second["instances"]["one"]) == {
        "requests", "errors", "tokens", "first_token", "in_flight", "state",
    }  # fmt: skip
    assert second["models"]["m"]["requests"] > 0
    assert second["instances"]["one"]["state"] == "up"


def test_a_router_that_is_away_is_said_and_waited_for(tmp_path):
    done = subprocess.run(
        top(f"http://127.0.0.1:{free_port()}", "-n", "1", "--every", "0.2"), capture_output=True, text=True,
        timeout=20, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    assert "does not answer" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_stays_in_place_and_its_end_leaves_it_in_order(own, tmp_path, end):
    ours, theirs = pty.openpty()
    out = tmp_path / "out"
    process = subprocess.Popen(
        top(own.url, "--every", "0.2"), stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        with out.open("wb") as file:
            until(lambda: _drain(ours, file).count(b"INSTANCE") >= 4, timeout=20, what="some frames")
            process.send_signal(end)
            until(lambda: _drain(ours, file) is not None and process.poll() is not None, timeout=20, what="its end")
            _drain(ours, file)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 130
    said = out.read_bytes()
    assert b"Traceback" not in said
    assert said.rindex(b"\x1b[?25h") > said.rindex(b"\x1b[?25l"), "the cursor is back"


def _drain(terminal: int, file) -> bytes:
    """What the terminal has shown so far."""
    os.set_blocking(terminal, False)
    try:
        while data := os.read(terminal, 65536):
            file.write(data)
            file.flush()
    except OSError:
        pass
    return Path(file.name).read_bytes()
