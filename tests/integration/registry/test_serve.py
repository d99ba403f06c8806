"""The command `svc registry`: gunicorn, SQLite, signals, and errors at the start."""

import http.server
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from svc.base.errors import ConfigError, SvcError
from svc.client.registry import RegistryClient
from svc.registry.serve import check_store
from svc.settings import RegistrySettings
from tests.integration.registry.process import SVC, Registry, alive
from tests.unit.registry.services import registration
from tests.waiting import other_address, wait_until


@pytest.fixture
def start(tmp_path):
    """A function that starts a registry with flags; all end with the test."""
    started = []

    def registry(*flags):
        started.append(Registry(tmp_path, *flags).start())
        return started[-1]

    yield registry
    for running in started:
        running.end()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_registry_and_its_worker(start, sig):
    registry = start()
    worker = registry.worker()
    assert registry.end(sig) == 0
    assert not alive(worker)
    log = registry.log.read_text()
    assert "Traceback" not in log
    assert "Warning" not in log, "such as that of gevent, if it patches too late"


def test_a_signal_during_the_start_of_the_worker_is_not_lost(tmp_path):
    """A worker that loses the signal runs on until gunicorn kills it, after the graceful timeout.

    On a busy machine gunicorn may also kill a worker that still starts and blocks the signal: that attempt is repeated.
    """
    for attempt in range(10):
        place = tmp_path / str(attempt)
        place.mkdir()
        if ends_by_itself(Registry(place)):
            return
    pytest.fail("the worker was always killed while it started")


def ends_by_itself(registry):
    """Send SIGTERM while the worker starts; return False if it was killed before it took signals."""
    registry.launch()
    try:
        wait_until(lambda: "Listening" in registry.log.read_text() and registry.worker() > 0, interval=0.001)
        worker = registry.worker()
        os.killpg(registry.process.pid, signal.SIGTERM)
        signals_taken = []
        wait_until(lambda: signals_taken.append(not blocks(worker, signal.SIGTERM)) or not alive(worker), interval=0.01)
        assert registry.process.wait(15) == 0
        ended_by_itself = "Worker exiting" in registry.log.read_text()
        assert ended_by_itself or not any(signals_taken), "the worker took signals, and was killed nevertheless"
        return ended_by_itself
    finally:
        registry.end()


def blocks(pid, number):
    """Return whether a process blocks a signal."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        mask = next(line.split()[1] for line in lines if line.startswith("SigBlk"))
        return bool(int(mask, 16) >> (number - 1) & 1)
    return True


def test_it_creates_only_its_log_and_its_store(start, tmp_path):
    registry = start()
    registry.process.send_signal(signal.SIGHUP)  # gunicorn would create its control socket late
    wait_until(lambda: registry.log.read_text().count("Booting worker") == 2)
    assert {p.name for p in tmp_path.iterdir()} == {"registry.log", "var"}


def test_acknowledged_registrations_survive_kill_9(start):
    registry = start()
    acknowledged = []

    def register():
        for n in range(10_000):
            try:
                registry.client.register(registration(f"s{n}"))
            except SvcError:
                return
            acknowledged.append(f"s{n}")

    clients = threading.Thread(target=register)
    clients.start()
    wait_until(lambda: len(acknowledged) >= 20)
    registry.client.heartbeat("s0", "draining")
    index = int(requests.get(f"{registry.client.urls[0]}/services", timeout=5).headers["X-Registry-Index"])
    registry.end(signal.SIGKILL)
    clients.join(20)
    registry.start()
    names = {s["name"] for s in registry.client.services()}
    assert set(acknowledged) <= names
    assert registry.client.get("s0")["status"] == "draining"
    again = int(requests.get(f"{registry.client.urls[0]}/services", timeout=5).headers["X-Registry-Index"])
    assert again >= index


def test_a_worker_does_not_outlive_its_master(start):
    registry = start()
    worker = registry.worker()
    os.kill(worker, signal.SIGSTOP)  # as a worker that is busy
    registry.process.kill()
    wait_until(lambda: not alive(worker), 5, "the worker is gone")


def test_sighup_replaces_the_worker_and_no_request_fails(start):
    registry = start()
    registry.client.register(registration())
    before, heartbeats, failures, stop = registry.worker(), [], [], threading.Event()

    def beat():
        while not stop.is_set():
            try:
                registry.client.heartbeat("qwen", "running")
                heartbeats.append(1)
            except SvcError as error:
                failures.append(error)

    clients = threading.Thread(target=beat)
    clients.start()
    registry.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not alive(before), 15, "the old worker is gone")
    more = len(heartbeats) + 20
    wait_until(lambda: len(heartbeats) > more, 15, "the new worker answers")
    stop.set()
    clients.join(10)
    assert not failures


class HealthHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def target():
    """A server whose /health answers with `status`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HealthHandler) as server:
        server.status = 200
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def silent():
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_other_hosts_are_checked_while_one_is_silent(start, target, silent):
    registry = start("--health-interval", "0.1", "--health-timeout", "2")  # no less: a busy machine may need it
    port = target.server_address[1]
    registry.client.register(registration("fast", url=f"http://127.0.0.1:{port}"))
    registry.client.register(registration("mute", url=f"http://127.0.0.1:{silent}"))

    def health_status(name):
        return registry.client.get(name)["health_status"]

    wait_until(lambda: health_status("fast") == "healthy", 30)
    wait_until(lambda: health_status("mute") == "unhealthy", 30)
    target.status = 503
    wait_until(lambda: health_status("fast") == "unhealthy", 30)
    assert not registry.client.get("fast")["is_healthy"]
    target.status = 200
    wait_until(lambda: health_status("fast") == "healthy", 30)
    now = requests.get(f"{registry.client.urls[0]}/services/mute/health", timeout=30).json()
    assert now["health_status"] == "unhealthy"


def test_services_silent_for_long_are_removed(start):
    registry = start("--cleanup-interval", "0.2", "--forget-after", "1")
    registry.client.register(registration("brief", lease_seconds=1))
    registry.client.register(registration("lasting"))
    wait_until(lambda: [s["name"] for s in registry.client.services()] == ["lasting"])


def start_error(place: Path, *flags: str) -> str:
    """Return the error of a `svc registry` that cannot start."""
    process = subprocess.run([*SVC, "registry", *flags], cwd=place, capture_output=True, text=True, timeout=20)
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1, process.stderr
    return process.stderr


def test_a_service_outside_of_allowed_networks_is_rejected(start):
    registry = start("--allowed-networks", "10.0.0.0/24,127.0.0.0/8")
    registry.client.register(registration())
    registry.client.register(registration("local", host="localhost"))
    with pytest.raises(SvcError, match=r"10\.0\.1\.7 is in no network of the registry's allowed_networks"):
        registry.client.register(registration("far", host="10.0.1.7"))
    with pytest.raises(SvcError, match="cannot resolve"):
        registry.client.register(registration("nowhere", host="nowhere.invalid"))
    assert [s["name"] for s in registry.client.services()] == ["local", "qwen"]


def test_an_error_at_the_start_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in start_error(tmp_path, "--port", port)
    assert "192.0.2.1" in start_error(tmp_path, "--host", "192.0.2.1")
    assert "allowed_networks: '10/8'" in start_error(tmp_path, "--allowed-networks", "10/8")
    (tmp_path / "file").touch()
    assert "file/registry.db: cannot keep" in start_error(tmp_path, "--store", "sqlite:file/registry.db")
    assert "give sqlite:PATH" in start_error(tmp_path, "--store", "mysql://localhost")
    assert "nowhere: cannot read the file that token_file names" in start_error(tmp_path, "--token-file", "nowhere")
    redis = ("--store", "redis://localhost", "--store-password-file", "nowhere")
    assert "nowhere: cannot read the file that store_password_file names" in start_error(tmp_path, *redis)
    assert "store: cannot use 'redis://***@host/x'" in start_error(tmp_path, "--store", "redis://:secret@host/x")


def test_a_missing_redis_package_is_reported_with_its_install_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"the redis package is missing: \S*pip install 'redis<\d+,>=\d+'"):
        check_store(RegistrySettings(store="redis://localhost"))


def test_another_machine_needs_the_token(start, tmp_path):
    (tmp_path / "token").write_text("of-this-registry\n")
    registry = start("--host", "0.0.0.0", "--token-file", "token")
    far = f"http://{other_address()}:{registry.port}"
    with pytest.raises(SvcError, match="token"):
        RegistryClient(far).register(registration())
    RegistryClient(far, token_file=str(tmp_path / "token")).register(registration())
    assert [s["name"] for s in RegistryClient(far).services()] == ["qwen"]
    assert "of-this-registry" not in registry.log.read_text()


def watch(registry, index, wait=30):
    answer = requests.get(f"{registry.client.urls[0]}/services?index={index}&wait={wait}", timeout=60)
    assert answer.status_code == 200, answer.text
    return {s["name"]: s["is_healthy"] for s in answer.json()["services"]}, int(answer.headers["X-Registry-Index"])


def test_a_watcher_gets_changes_and_expiries(start):
    registry = start()
    lists = []

    def follow():
        index = 0
        for _ in range(3):
            listed, index = watch(registry, index)
            lists.append(listed)

    watcher = threading.Thread(target=follow)
    watcher.start()
    registry.client.register(registration("brief", lease_seconds=1))
    wait_until(lambda: len(lists) == 1)
    registry.client.register(registration("lasting"))
    watcher.join(15)
    assert lists == [{"brief": True}, {"brief": True, "lasting": True}, {"brief": False, "lasting": True}]


def test_a_registry_that_ends_answers_its_watchers(start):
    registry = start()
    registry.client.register(registration())
    answers = []
    watcher = threading.Thread(target=lambda: answers.append(watch(registry, 1, 60)))
    watcher.start()
    wait_until(lambda: watching(registry.port))
    assert registry.end(signal.SIGTERM) == 0
    watcher.join(10)
    assert answers == [({"qwen": True}, 1)]


def watching(port: int) -> bool:
    """Return whether a connection to the port is established."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(line[1].split(":")[1], 16) == port and line[3] == "01" for line in lines)
