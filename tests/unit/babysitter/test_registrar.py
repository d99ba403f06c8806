"""When registrations and heartbeats are sent, and what happens while the registry is away; the secret's file."""

import logging
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from svc.babysitter.registrar import Registrar, load_or_create_secret, state_directory
from svc.babysitter.registration import Registration
from svc.base.errors import BadRequest, Forbidden, NotFound, Unavailable


class FakeRegistry:
    """A registry in memory, with its calls in order; it may be away, or refuse a name."""

    def __init__(self):
        self.services, self.calls, self.away, self.refuses = {}, [], False, ()

    def _call(self, method, name, status=""):
        if self.away:
            raise Unavailable("cannot reach the registry: http://here: connection refused")
        if name in self.refuses:
            raise BadRequest(f"{name} belongs to another babysitter")
        self.calls.append((method, name, status) if status else (method, name))

    def register(self, service):
        self._call("register", service["name"], service["status"])
        self.services[service["name"]] = service

    def heartbeat(self, name, status):
        if not self.away and name not in self.services:
            raise NotFound(f"{name}: no such service")
        self._call("heartbeat", name, status)

    def deregister(self, name):
        self._call("deregister", name)
        if self.services.pop(name, None) is None:
            raise NotFound(f"{name}: no such service")


@pytest.fixture
def registry():
    return FakeRegistry()


@pytest.fixture
def wanted():
    return [Registration("qwen", "running", {"port": 8101}), Registration("qwen-server", "starting", {"port": 8100})]


@pytest.fixture
def registrar(registry, wanted):
    return Registrar(registry, lambda: list(wanted), interval=10, clock=lambda: 1000.0)


def lines(caplog):
    return [r.getMessage() for r in caplog.records]


def test_it_registers_once_and_then_sends_heartbeats(registry, registrar):
    registrar.run_round()
    registrar.run_round()
    assert registry.calls == [
        ("register", "qwen", "running"),
        ("register", "qwen-server", "starting"),
        ("heartbeat", "qwen", "running"),
        ("heartbeat", "qwen-server", "starting"),
    ]
    assert registrar.registered
    assert registrar.last_heartbeat == 1000.0


def test_a_new_state_needs_a_heartbeat_and_new_models_a_registration(registry, registrar, wanted):
    registrar.run_round()
    wanted[1] = Registration("qwen-server", "running", {"port": 8100, "metadata": {"models": ["a"]}})
    registrar.run_round()
    wanted[1] = Registration("qwen-server", "draining", {"port": 8100, "metadata": {"models": ["a"]}})
    registrar.run_round()
    assert [call for call in registry.calls if call[1] == "qwen-server"][1:] == [
        ("register", "qwen-server", "running"),
        ("heartbeat", "qwen-server", "draining"),
    ]


def test_a_registration_counts_as_accepted_while_a_changed_one_is_sent(registry, registrar, wanted):
    registrar.run_round()
    seen = []
    send = registry.register

    def register(service):
        seen.append(registrar.registered)
        send(service)

    registry.register = register
    wanted[1] = Registration("qwen-server", "running", {"port": 8100, "metadata": {"models": ["a"]}})
    registrar.run_round()
    assert seen == [True]
    assert registrar.registered


def test_a_changed_registration_without_an_answer_is_sent_again(registry, registrar, wanted):
    registrar.run_round()
    before = wanted[1]
    wanted[1] = Registration("qwen-server", "running", {"port": 8100, "metadata": {"models": ["a"]}})
    send = registry.register

    def lose(service):
        registry.register = send
        raise Unavailable("no answer in 5 s")

    registry.register = lose
    registrar.run_round()
    assert not registrar.registered
    wanted[1] = before  # the registry may have the change, so that a heartbeat would not be enough
    registrar.run_round()
    assert registry.calls[-1] == ("register", "qwen-server", "starting")
    assert registrar.registered


def test_a_registry_that_lost_its_data_gets_it_in_the_same_round(registry, registrar):
    registrar.run_round()
    registry.services.clear()
    registrar.run_round()
    assert sorted(registry.services) == ["qwen", "qwen-server"]


def test_a_registry_that_was_away_gets_only_the_present_state(registry, registrar, wanted):
    registry.away = True
    for status in ("starting", "running", "draining"):
        wanted[1] = Registration("qwen-server", status, {})
        registrar.run_round()
    assert not registrar.registered
    registry.away = False
    registrar.run_round()
    assert registry.calls == [("register", "qwen", "running"), ("register", "qwen-server", "draining")]


def test_an_unreachable_registry_and_its_return_are_logged_once(registry, registrar, caplog):
    caplog.set_level(logging.INFO)
    registrar.run_round()
    caplog.clear()
    registry.away = True
    for _ in range(20):
        registrar.run_round()
    registry.away = False
    registrar.run_round()
    registrar.run_round()
    assert lines(caplog) == [
        "not registered, trying again: cannot reach the registry: http://here: connection refused",
        "the registry has everything again",
    ]


def test_the_retry_pause_doubles_up_to_the_heartbeat_interval(registry, registrar):
    registry.away = True
    pauses = []
    for _ in range(8):
        registrar.run_round()
        pauses.append(registrar.pause())
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10, 10]
    registry.away = False
    registrar.run_round()
    assert registrar.pause() == 10


def test_a_refusal_is_logged_once_and_does_not_delay_the_other_name(registry, registrar, caplog):
    registry.refuses = ("qwen",)
    for _ in range(3):
        registrar.run_round()
    assert "qwen-server" in registry.services
    assert not registrar.registered
    assert lines(caplog) == ["not registered, trying again: qwen belongs to another babysitter"]


def test_the_instance_is_deregistered_first(registry, registrar):
    registrar.run_round()
    registrar.deregister()
    assert registry.calls[-2:] == [("deregister", "qwen-server"), ("deregister", "qwen")]
    assert not registrar.registered


def test_nothing_is_registered_after_the_deregistration(registry, registrar):
    registrar.run_round()
    registrar.deregister()
    registrar.run_round()
    assert registry.services == {}


def test_a_name_of_another_babysitter_is_not_deregistered(registry, registrar):
    registry.services["qwen"] = {"name": "qwen", "url": "http://elsewhere"}
    registry.refuses = ("qwen",)
    registrar.run_round()
    registry.refuses = ()
    registrar.deregister()
    assert list(registry.services) == ["qwen"]


def test_a_lost_name_is_registered_once_it_is_free_and_not_removed_before(registry, registrar):
    registrar.run_round()
    heartbeat, register = registry.heartbeat, registry.register

    def refuse(*_):
        raise Forbidden("qwen belongs to the babysitter on gpu2")

    registry.heartbeat = registry.register = refuse
    registrar.run_round()
    assert not registrar.registered
    registry.heartbeat, registry.register, registry.calls = heartbeat, register, []
    registrar.run_round()
    assert [method for method, *_ in registry.calls] == ["register", "register"]
    registry.heartbeat = refuse
    registrar.run_round()
    registrar.deregister()
    assert not [method for method, *_ in registry.calls if method == "deregister"]


def test_a_registration_without_an_answer_is_deregistered_too(registry, registrar):
    registry.away = True
    registrar.run_round()
    registry.services["qwen"] = {}  # it arrived all the same
    registry.away = False
    registrar.deregister()
    assert registry.services == {}


def test_deregistering_does_not_wait_for_a_registry_that_hangs(registry, wanted):
    hangs, over = threading.Event(), threading.Event()
    registrar = Registrar(registry, lambda: wanted, interval=10)

    def register(service):
        hangs.set()
        over.wait(30)

    registry.register = registry.deregister = register
    round_ = threading.Thread(target=registrar.run_round, daemon=True)
    round_.start()
    assert hangs.wait(10)
    began = time.monotonic()
    registrar.deregister(timeout=0.2)
    assert time.monotonic() - began < 2
    over.set()
    round_.join(10)


def test_deregistering_waits_for_a_registration_in_progress(registry, wanted):
    under_way, may_go_on = threading.Event(), threading.Event()
    registrar = Registrar(registry, lambda: wanted[:1], interval=10)
    registering = registry.register

    def register(service):
        under_way.set()
        assert may_go_on.wait(10)
        registering(service)

    registry.register = register
    round_ = threading.Thread(target=registrar.run_round, daemon=True)
    round_.start()
    assert under_way.wait(10)
    threading.Timer(0.05, may_go_on.set).start()
    registrar.deregister(timeout=10)
    round_.join(10)
    assert registry.services == {}


def test_a_changed_registration_is_outdated_until_a_round_sends_it(registrar, wanted):
    assert not registrar.outdated  # the first round sends everything
    registrar.run_round()
    assert not registrar.outdated
    for change in (
        Registration("qwen-server", "running", {"port": 8100}),
        Registration("qwen-server", "running", {"port": 8102}),
    ):
        wanted[1] = change
        assert registrar.outdated
        registrar.run_round()
        assert not registrar.outdated


def test_a_change_does_not_shorten_the_pause_while_the_registry_is_away(registrar, registry, wanted):
    registrar.run_round()
    registry.away = True
    wanted[1] = Registration("qwen-server", "failed", {"port": 8100})
    registrar.run_round()
    assert not registrar.outdated  # `pause` decides when it is tried again


def test_the_secret_is_created_once_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "var" / "qwen.secret"
    secret = load_or_create_secret(path)
    assert len(secret) >= 32
    assert load_or_create_secret(path) == secret == path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["qwen.secret"]
    assert load_or_create_secret(tmp_path / "var" / "other.secret") != secret


@pytest.mark.parametrize("spoilt", ["", "short", "two words and a blank", "ü" * 40, "x" * 300])
def test_a_file_without_a_valid_secret_is_replaced(tmp_path, spoilt):
    path = tmp_path / "qwen.secret"
    path.write_text(spoilt)
    secret = load_or_create_secret(path)
    assert secret != spoilt
    assert load_or_create_secret(path) == secret


def test_a_secret_that_cannot_be_written_lasts_for_this_process(tmp_path, caplog):
    (tmp_path / "var").touch()
    secret = load_or_create_secret(tmp_path / "var" / "qwen.secret")
    assert len(secret) >= 32
    (line,) = [r.getMessage() for r in caplog.records]
    assert "var/qwen.secret: cannot keep the secret" in line
    assert secret not in line


def test_a_failed_write_of_the_secret_leaves_no_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert load_or_create_secret(tmp_path / "qwen.secret")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("server_url", "directory"),
    [
        ("unix:///srv/site/var/supervisor.sock", "/srv/site/var"),
        ("unix:///tmp/svc-x/var/supervisor.sock", "/tmp/svc-x/var"),
        ("unix:///run/supervisor.sock", "var"),
        ("http://127.0.0.1:9001", "var"),
        ("", "var"),
    ],
)
def test_the_secret_is_stored_in_the_var_of_its_supervisord(server_url, directory):
    assert state_directory(server_url) == Path(directory)


def test_the_status_that_the_registry_knows_is_the_one_that_it_accepted_last(registry, registrar, wanted):
    assert registrar.accepted_status("qwen-server") == ""
    registrar.run_round()
    assert registrar.accepted_status("qwen-server") == "starting"
    wanted[1] = Registration("qwen-server", "draining", {"port": 8100})
    registry.away = True
    registrar.run_round()
    assert registrar.accepted_status("qwen-server") == "starting"
    registry.away = False
    registrar.run_round()
    assert registrar.accepted_status("qwen-server") == "draining"
