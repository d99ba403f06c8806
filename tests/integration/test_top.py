"""`svc top` with a real router."""

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
from tests.unit.client.page_server import PageServer
from tests.waiting import free_port, wait_until

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    with mock("one", ["m"]) as backend:
        path = static(tmp_path_factory.mktemp("top") / "static.json", [service("one", backend.port, "m")])
        with router("--static-services", path) as running:
            yield running


def top(url: str, *arguments: str) -> list[str]:
    return [str(BIN / "svc"), "top", "--router-url", url, *arguments]


def test_json_has_the_rates(own, tmp_path):
    arguments = top(own.url, "--json", "-n", "2", "--every", "0.5")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        for _ in range(5):
            requests.post(f"{own.url}/v1/chat/completions", json=CHAT, timeout=10)
        second = json.loads(process.stdout.readline())
        assert process.wait(10) == 0
    assert first["url"] == own.url
    assert set(second["models"]["m"]) == {"requests", "errors", "tokens", "first_token", "queue", "instances", "asleep"}
    assert set(second["instances"]["one"]) == {
        "requests",
        "errors",
        "tokens",
        "first_token",
        "in_flight",
        "state",
    }
    assert second["models"]["m"]["requests"] > 0
    assert second["instances"]["one"]["state"] == "up"
    assert second["gpus"] == {}, "this router's registry is not known"


def test_gpus_come_from_the_registry(own, tmp_path):
    gpu = {
        "index": 0,
        "memory_total": 80,
        "memory_used": 71,
        "processes": [{"pid": 7, "memory": 71, "instance": "one"}],
    }
    host = {"service": "one", "hostname": "gpu1", "age": 1.0, "tool": "nvidia-smi", "gpus": [gpu]}
    registry = PageServer({"/gpus": (200, json.dumps({"hosts": [host]}))})
    try:
        completed = once(own.url, tmp_path, "--json", "--registry-url", registry.url)
    finally:
        registry.close()
    ((name, (shown,)),) = json.loads(completed.stdout)["gpus"].items()
    assert (name, shown["memory_used"], shown["held"], shown["strangers"]) == ("gpu1", 71, {"one": 71}, [])


def once(url: str, place, *arguments: str) -> subprocess.CompletedProcess[str]:
    arguments = top(url, "-n", "1", "--every", "0.2", *arguments)
    return subprocess.run(arguments, capture_output=True, text=True, timeout=20, cwd=place)


def test_an_unreachable_router_is_reported_with_the_reason(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    completed = once(url, tmp_path)
    assert completed.returncode == 1
    assert f"the router does not answer at {url}: connection refused; trying again" in completed.stdout
    assert "Traceback" not in completed.stderr
    completed = once(url, tmp_path, "--json")
    assert (completed.returncode, completed.stdout) == (1, "")
    assert "connection refused" in completed.stderr


def test_a_server_that_is_no_router_is_reported(tmp_path):
    with mock("one", ["m"]) as backend:
        url = f"http://127.0.0.1:{backend.port}"
        completed = once(url, tmp_path)
    assert completed.returncode == 1
    assert f"what answers at {url} is no router" in completed.stdout


@pytest.mark.parametrize("url", ["nonsense", "localhost:8000", "http://h:port"])
def test_a_text_that_is_no_url_is_refused(url, tmp_path):
    completed = once(url, tmp_path)
    assert completed.returncode == 1
    assert completed.stderr == f"svc: {url!r} is no URL of a router; write it as http://HOST:8000\n"


def test_it_exits_with_0_after_a_good_last_line(own, tmp_path):
    assert once(own.url, tmp_path).returncode == 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_paints_in_place_and_restores_it_at_the_end(own, tmp_path, end):
    ours, theirs = pty.openpty()
    out = tmp_path / "out"
    process = subprocess.Popen(
        top(own.url, "--every", "0.2"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        with out.open("wb") as file:
            wait_until(lambda: _drain(ours, file).count(b"INSTANCE") >= 4, timeout=20, description="some frames")
            process.send_signal(end)
            wait_until(
                lambda: _drain(ours, file) is not None and process.poll() is not None, timeout=20, description="its end"
            )
            _drain(ours, file)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 130
    output = out.read_bytes()
    assert b"Traceback" not in output
    assert output.rindex(b"\x1b[?25h") > output.rindex(b"\x1b[?25l"), "the cursor is back"


def _drain(terminal: int, file) -> bytes:
    """Return what the terminal has shown so far."""
    os.set_blocking(terminal, False)
    try:
        while data := os.read(terminal, 65536):
            file.write(data)
            file.flush()
    except OSError:
        pass
    return Path(file.name).read_bytes()
