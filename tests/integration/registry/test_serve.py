"""The registry as it runs: `svc registry`, gunicorn, SQLite, signals."""

import http.server
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests

from svc.base.errors import ConfigError, SvcError
from svc.client.registry import RegistryClient
from svc.registry.serve import GRACEFUL_TIMEOUT_SECONDS, check_store
from svc.settings import RegistrySettings
from tests.integration.registry.process import SVC, Registry, alive
from tests.unit.registry.services import registration
from tests.waiting import other_address, wait_until


@pytest.fixture
def start(tmp_path):
    """Starts a registry with flags; all end with the test."""
    started = []

    def registry(*flags):
        started.append(Registry(tmp_path, *flags).start())
        return started[-1]

    yield registry
    for one in started:
        one.end()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_its_worker(start, sig):
    registry = start()
    worker = registry.worker()
    assert registry.end(sig) == 0
    assert not alive(worker)
    log = registry.log.read_text()
    assert "Traceback" not in log
    assert "Warning" not in log, "gevent patched too late, say"


def test_a_signal_is_not_lost_while_the_worker_begins(tmp_path):
    """It would end by being killed, after the grace for begun requests."""
    registry = Registry(tmp_path)
    registry.launch()
    try:
        wait_until(lambda: "Listening" in registry.log.read_text() and registry.worker() > 0, interval=0.001)
        begun = time.monotonic()
        assert registry.end(signal.SIGTERM) == 0
        assert time.monotonic() - begun < GRACEFUL_TIMEOUT_SECONDS - 1
    finally:
        registry.end()


def test_it_leaves_nothing_about_but_its_log_and_its_store(start, tmp_path):
    registry = start()
    registry.process.send_signal(signal.SIGHUP)  # gunicorn's control socket comes late
    wait_until(lambda: registry.log.read_text().count("Booting worker") == 2)
    assert {p.name for p in tmp_path.iterdir()} == {"registry.log", "var"}


def test_what_was_acknowledged_survives_kill_9(start):
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
    os.kill(worker, signal.SIGSTOP)  # whatever it is busy with
    registry.process.kill()
    wait_until(lambda: not alive(worker), 5, "the worker is gone")


def test_hup_replaces_the_worker_and_no_request_fails(start):
    registry = start()
    registry.client.register(registration())
    before, beaten, failures, stop = registry.worker(), [], [], threading.Event()

    def beat():
        while not stop.is_set():
            try:
                registry.client.heartbeat("qwen", "running")
                beaten.append(1)
            except SvcError as error:
                failures.append(error)

    clients = threading.Thread(target=beat)
    clients.start()
    registry.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not alive(before), 15, "the old worker is gone")
    more = len(beaten) + 20
    wait_until(lambda: len(beaten) > more, 15, "the new one answers")
    stop.set()
    clients.join(10)
    assert not failures


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def target():
    """A server whose /health can be told what to answer."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.status = 200
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def silent():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_what_runs_is_checked_beside_a_silent_host_and_nobody_waits(start, target, silent):
    registry = start("--health-interval", "0.1", "--health-timeout", "0.5")
    port = target.server_address[1]
    registry.client.register(registration("well", url=f"http://127.0.0.1:{port}"))
    registry.client.register(registration("mute", url=f"http://127.0.0.1:{silent}"))

    def verdict(name):
        return registry.client.get(name)["health_status"]

    wait_until(lambda: verdict("well") == "healthy")
    wait_until(lambda: verdict("mute") == "unhealthy", 15)
    target.status = 503
    wait_until(lambda: verdict("well") == "unhealthy", 15)
    assert not registry.client.get("well")["is_healthy"]
    target.status = 200
    wait_until(lambda: verdict("well") == "healthy", 15)
    now = requests.get(f"{registry.client.urls[0]}/services/mute/health", timeout=5).json()
    assert now["health_status"] == "unhealthy"


def test_the_long_silent_are_forgotten(start):
    registry = start("--cleanup-interval", "0.2", "--forget-after", "1")
    registry.client.register(registration("brief", lease_seconds=1))
    registry.client.register(registration("lasting"))
    wait_until(lambda: [s["name"] for s in registry.client.services()] == ["lasting"])


def refused(place: Path, *flags: str) -> str:
    """What `svc registry` says when it cannot start."""
    done = subprocess.run([*SVC, "registry", *flags], cwd=place, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_service_outside_the_allowed_networks_is_refused(start):
    registry = start("--allowed-networks", "10.0.0.0/24,127.0.0.0/8")
    registry.client.register(registration())
    registry.client.register(registration("here", host="localhost"))
    with pytest.raises(SvcError, match=r"10\.0\.1\.7 is in no network of the registry's allowed_networks"):
        registry.client.register(registration("far", host="10.0.1.7"))
    with pytest.raises(SvcError, match="cannot resolve"):
        registry.client.register(registration("nowhere", host="nowhere.invalid"))
    assert [s["name"] for s in registry.client.services()] == ["here", "qwen"]


def test_what_keeps_it_from_starting_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in refused(tmp_path, "--port", port)
    assert "192.0.2.1" in refused(tmp_path, "--host", "192.0.2.1")
    assert "allowed_networks: '10/8'" in refused(tmp_path, "--allowed-networks", "10/8")
    (tmp_path / "file").touch()
    assert "file/registry.db: cannot keep" in refused(tmp_path, "--store", "sqlite:file/registry.db")
    assert "give sqlite:PATH" in refused(tmp_path, "--store", "mysql://localhost")
    assert "nowhere: cannot read the file that token_file names" in refused(tmp_path, "--token-file", "nowhere")
    redis = ("--store", "redis://localhost", "--store-password-file", "nowhere")
    assert "nowhere: cannot read the store's password" in refused(tmp_path, *redis)
    assert "store: cannot use 'redis://***@host/x'" in refused(tmp_path, "--store", "redis://:secret@host/x")


def test_without_the_redis_package_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'infinilm-svc\[redis\]'"):
        check_store(RegistrySettings(store="redis://localhost"))


def test_another_machine_is_refused_without_the_token(start, tmp_path):
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


def test_who_watches_is_told_of_a_change_and_of_an_expiry(start):
    registry = start()
    told_of = []

    def follow():
        index = 0
        for _ in range(3):
            listed, index = watch(registry, index)
            told_of.append(listed)

    watcher = threading.Thread(target=follow)
    watcher.start()
    registry.client.register(registration("brief", lease_seconds=1))
    wait_until(lambda: len(told_of) == 1)
    registry.client.register(registration("lasting"))
    watcher.join(15)
    assert told_of == [{"brief": True}, {"brief": True, "lasting": True}, {"brief": False, "lasting": True}]


def test_a_registry_that_ends_lets_its_watchers_go(start):
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
    """Whether a connection to it is established."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(line[1].split(":")[1], 16) == port and line[3] == "01" for line in lines)
