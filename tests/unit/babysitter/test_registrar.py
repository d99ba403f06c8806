"""What the registry is told, when, and what becomes of it when the registry is away."""

import logging
import threading
import time

import pytest

from svc.babysitter.instance_watch import Sighting
from svc.babysitter.lifecycle import State
from svc.babysitter.registrar import Entry, Registrar, entries
from svc.base.errors import BadRequest, Forbidden, NotFound, Unavailable
from tests.unit.instance_configs import instance_config

MODEL = {"id": "a", "object": "model", "created": 1}


class Registry:
    """A registry in memory: what it was told, in order; it may be away, or refuse."""

    def __init__(self):
        self.services, self.told, self.away, self.refuses, self.urls = {}, [], False, (), ("http://here",)

    def _called(self, what, name, status=""):
        if self.away:
            raise Unavailable("cannot reach the registry: http://here: connection refused")
        if name in self.refuses:
            raise BadRequest(f"{name} belongs to somebody else")
        self.told.append((what, name, status) if status else (what, name))

    def register(self, service):
        self._called("register", service["name"], service["status"])
        self.services[service["name"]] = service

    def heartbeat(self, name, status):
        if not self.away and name not in self.services:
            raise NotFound(f"{name}: no such service")
        self._called("heartbeat", name, status)

    def deregister(self, name):
        self._called("deregister", name)
        if self.services.pop(name, None) is None:
            raise NotFound(f"{name}: no such service")


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def wanted():
    return [Entry("qwen", "running", {"port": 8101}), Entry("qwen-server", "starting", {"port": 8100})]


@pytest.fixture
def registrar(registry, wanted):
    return Registrar(registry, lambda: list(wanted), interval=10, clock=lambda: 1000.0)


def lines(caplog):
    return [r.getMessage() for r in caplog.records]


def test_the_registration_of_a_running_instance():
    babysitter, instance = entries(instance_config(), State.RUNNING, [MODEL], "gpu1")
    assert instance.to_json(0.0) == {
        "name": "qwen-server",
        "host": "localhost",
        "port": 8100,
        "hostname": "gpu1",
        "url": "http://localhost:8100",
        "status": "running",
        "timestamp": "1970-01-01T00:00:00.000Z",
        "lease_seconds": 30,
        "weight": 1,
        "metadata": {
            "cache_type": "paged",
            "type": "openai-api",
            "parent_service": "qwen",
            "babysitter": "http://localhost:8101",
            "models": ["a"],
            "models_list": [MODEL],
            "restarts": 0,
            "restart_reason": "",
        },
    }
    told = babysitter.to_json(0.0)
    assert (told["name"], told["port"], told["url"]) == ("qwen", 8101, "http://localhost:8101")
    assert (told["status"], told["metadata"]["type"]) == ("running", "babysitter")


def test_why_it_ended_is_told_before_it_is_started_again():
    instance = entries(instance_config(), State.STARTING, [], "gpu1", Sighting("BACKOFF", reason="Exited with code 3"))[
        1
    ]
    told = instance.about["metadata"]
    assert (told["restarts"], told["restart_reason"]) == (0, "Exited with code 3")


def test_the_registry_takes_what_it_is_told():
    from svc.registry.validation import registration

    for entry in entries(instance_config(), State.STARTING, [], "gpu1"):
        assert registration(entry.to_json(5.0), now=6.0).name == entry.name


@pytest.mark.parametrize(("interval", "lease"), [(1, 30), (10, 30), (30, 90), (600, 1800)])
def test_a_lease_outlives_two_lost_heartbeats(interval, lease):
    for entry in entries(instance_config(heartbeat_interval=interval), State.RUNNING, [], "h"):
        assert entry.about["lease_seconds"] == lease


@pytest.mark.parametrize(("given", "weight"), [(5, 5), ("5", 1), (True, 1), (2.5, 1), (None, 1)])
def test_the_weight_is_the_metadata_s_if_it_is_a_whole_number(given, weight):
    instance = entries(instance_config(metadata={"weight": given}), State.RUNNING, [], "h")[1]
    assert instance.about["weight"] == weight


@pytest.mark.parametrize("state", [State.UNSEEN, State.GONE])
def test_an_instance_that_nobody_has_looked_at_is_not_told_of(state):
    assert [e.name for e in entries(instance_config(), state, [], "h")] == ["qwen"]


def test_it_registers_once_and_then_heartbeats(registry, registrar):
    registrar.round()
    registrar.round()
    assert registry.told == [
        ("register", "qwen", "running"),
        ("register", "qwen-server", "starting"),
        ("heartbeat", "qwen", "running"),
        ("heartbeat", "qwen-server", "starting"),
    ]
    assert registrar.registered
    assert registrar.last_heartbeat == 1000.0


def test_a_new_state_goes_with_the_heartbeat_and_new_models_with_a_registration(registry, registrar, wanted):
    registrar.round()
    wanted[1] = Entry("qwen-server", "running", {"port": 8100, "metadata": {"models": ["a"]}})
    registrar.round()
    wanted[1] = Entry("qwen-server", "draining", {"port": 8100, "metadata": {"models": ["a"]}})
    registrar.round()
    assert [t for t in registry.told if t[1] == "qwen-server"][1:] == [
        ("register", "qwen-server", "running"),
        ("heartbeat", "qwen-server", "draining"),
    ]


def test_a_registry_that_forgot_is_told_again_in_the_same_round(registry, registrar):
    registrar.round()
    registry.services.clear()
    registrar.round()
    assert sorted(registry.services) == ["qwen", "qwen-server"]


def test_a_registry_that_was_away_hears_the_present_and_not_the_past(registry, registrar, wanted):
    registry.away = True
    for status in ("starting", "running", "draining"):
        wanted[1] = Entry("qwen-server", status, {})
        registrar.round()
    assert not registrar.registered
    registry.away = False
    registrar.round()
    assert registry.told == [("register", "qwen", "running"), ("register", "qwen-server", "draining")]


def test_a_registry_that_is_away_is_logged_when_it_goes_and_when_it_is_back(registry, registrar, caplog):
    caplog.set_level(logging.INFO)
    registrar.round()
    caplog.clear()
    registry.away = True
    for _ in range(20):
        registrar.round()
    registry.away = False
    registrar.round()
    registrar.round()
    assert lines(caplog) == [
        "not registered, trying again: cannot reach the registry: http://here: connection refused",
        "the registry has everything again",
    ]


def test_the_pause_grows_up_to_the_heartbeat_s_interval_and_is_the_interval_when_all_is_well(registry, registrar):
    registry.away = True
    pauses = []
    for _ in range(8):
        registrar.round()
        pauses.append(registrar.pause())
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10, 10]
    registry.away = False
    registrar.round()
    assert registrar.pause() == 10


def test_what_the_registry_refuses_is_told_once_and_does_not_hold_up_the_other_name(registry, registrar, caplog):
    registry.refuses = ("qwen",)
    for _ in range(3):
        registrar.round()
    assert "qwen-server" in registry.services
    assert not registrar.registered
    assert lines(caplog) == ["not registered, trying again: qwen belongs to somebody else"]


def test_leaving_takes_the_instance_away_first(registry, registrar):
    registrar.round()
    registrar.leave()
    assert registry.told[-2:] == [("deregister", "qwen-server"), ("deregister", "qwen")]
    assert not registrar.registered


def test_nothing_is_registered_behind_the_leaving(registry, registrar):
    registrar.round()
    registrar.leave()
    registrar.round()
    assert registry.services == {}


def test_a_name_that_belongs_to_another_is_not_taken_away(registry, registrar):
    registry.services["qwen"] = {"name": "qwen", "url": "http://elsewhere"}
    registry.refuses = ("qwen",)
    registrar.round()
    registry.refuses = ()
    registrar.leave()
    assert list(registry.services) == ["qwen"]


def test_a_name_that_has_become_another_s_is_registered_again_when_it_is_free_and_till_then_not_taken_away(
    registry, registrar
):
    registrar.round()
    beat, register = registry.heartbeat, registry.register

    def refuse(*_):
        raise Forbidden("qwen belongs to the babysitter on gpu2")

    registry.heartbeat = registry.register = refuse
    registrar.round()
    assert not registrar.registered
    registry.heartbeat, registry.register, registry.told = beat, register, []
    registrar.round()
    assert [what for what, *_ in registry.told] == ["register", "register"]
    registry.heartbeat = refuse
    registrar.round()
    registrar.leave()
    assert not [what for what, *_ in registry.told if what == "deregister"]


def test_a_name_whose_registration_had_no_answer_is_taken_away_too(registry, registrar):
    registry.away = True
    registrar.round()
    registry.services["qwen"] = {}  # it arrived all the same
    registry.away = False
    registrar.leave()
    assert registry.services == {}


def test_leaving_does_not_wait_for_a_registry_that_hangs(registry, wanted):
    hangs, over = threading.Event(), threading.Event()
    registrar = Registrar(registry, lambda: wanted, interval=10)

    def register(service):
        hangs.set()
        over.wait(30)

    registry.register = registry.deregister = register
    round_ = threading.Thread(target=registrar.round, daemon=True)
    round_.start()
    assert hangs.wait(10)
    began = time.monotonic()
    registrar.leave(within=0.2)
    assert time.monotonic() - began < 2
    over.set()
    round_.join(10)


def test_leaving_waits_for_a_registration_under_way_and_takes_it_away(registry, wanted):
    under_way, may_go_on = threading.Event(), threading.Event()
    registrar = Registrar(registry, lambda: wanted[:1], interval=10)
    registering = registry.register

    def register(service):
        under_way.set()
        assert may_go_on.wait(10)
        registering(service)

    registry.register = register
    round_ = threading.Thread(target=registrar.round, daemon=True)
    round_.start()
    assert under_way.wait(10)
    threading.Timer(0.05, may_go_on.set).start()
    registrar.leave(within=10)
    round_.join(10)
    assert registry.services == {}


def test_any_change_of_what_is_registered_is_noticed_until_a_round_has_sent_it(registrar, wanted):
    assert not registrar.outdated  # the first round sends everything anyway
    registrar.round()
    assert not registrar.outdated
    for change in (Entry("qwen-server", "running", {"port": 8100}), Entry("qwen-server", "running", {"port": 8102})):
        wanted[1] = change
        assert registrar.outdated
        registrar.round()
        assert not registrar.outdated


def test_a_registry_that_is_away_is_not_tried_in_a_hurry_for_one_change(registrar, registry, wanted):
    registrar.round()
    registry.away = True
    wanted[1] = Entry("qwen-server", "failed", {"port": 8100})
    registrar.round()
    assert not registrar.outdated  # `pause` decides when it is tried again
