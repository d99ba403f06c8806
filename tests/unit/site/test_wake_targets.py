"""`svc wake` and `svc sleep`: what names refer to, what is asked of the router, and what is waited for."""

import pytest

from svc.base.errors import CommandError, NotFound, Unavailable
from svc.site.wake_targets import WakeTarget, find_targets, is_asleep, is_awake, put_to_sleep, wait, wake


def service(name, status="asleep", *models, **more):
    return {"name": f"{name}-server", "status": status, "healthy": status == "running", "models": list(models), **more}


class Router:
    """Lists one of `lists` after the other, and keeps the last; records what it is asked."""

    def __init__(self, *lists):
        self.lists = list(lists)
        self.calls = []

    def services(self):
        listed = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if listed is None:
            raise Unavailable("the router does not answer")
        return listed

    def wake_instance(self, name):
        self.calls.append(("wake instance", name))
        return {"name": name, "status": "asleep", "reason": "a gives way"}

    def wake_model(self, model):
        self.calls.append(("wake model", model))
        return {"name": "b-server", "status": "starting"}

    def sleep_instance(self, name):
        self.calls.append(("sleep", name))
        return {"status": "draining", "reason": ""}


class Progress:
    def __init__(self):
        self.shown = []
        self.lines = []

    def show(self, name, text):
        self.shown.append(f"{name}: {text}")

    def done(self, name, text):
        self.lines.append(f"{name}: {text}")

    def note(self, text):
        self.lines.append(text)


class Clock:
    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds


def waited(router, targets, is_done=is_awake, result="awake", timeout=5.0):
    clock, progress = Clock(), Progress()
    wait(router, targets, is_done, result, timeout, progress, clock.sleep, lambda: clock.now)
    return progress


SERVICES = [service("a", "running", "m"), service("b", "asleep", "m", "n"), service("m", "asleep", "x")]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("b", WakeTarget("b", ("b-server",))),
        ("b-server", WakeTarget("b", ("b-server",))),
        ("n", WakeTarget("n", ("b-server",), is_model=True)),
        ("m", WakeTarget("m", ("m-server",))),  # an instance comes before a model of the same name
    ],
)
def test_a_name_is_an_instance_or_a_model(name, target):
    assert find_targets([name, name], SERVICES, with_models=True) == [target]


def test_all_instances_of_a_model_may_wake():
    services = [service("a", "asleep", "m"), service("b", "asleep", "m")]
    assert find_targets(["m"], services, with_models=True) == [WakeTarget("m", ("a-server", "b-server"), is_model=True)]


def test_an_unknown_name_is_an_error_with_a_similar_name():
    services = [service("vision", "asleep", "qwen-vl")]
    with pytest.raises(NotFound, match="no instance and no model 'qwen-v'; did you mean qwen-vl"):
        find_targets(["qwen-v"], services, with_models=True)
    with pytest.raises(NotFound, match="no instance 'qwen-vl'; `svc services` shows those"):
        find_targets(["qwen-vl"], services, with_models=False)


def test_the_router_is_asked_for_the_instance_or_the_model():
    router = Router(SERVICES)
    assert wake(router, WakeTarget("b", ("b-server",))) == "b: wakes: a gives way"
    assert wake(router, WakeTarget("m", ("a-server", "b-server"), is_model=True)) == "m: wakes on b"
    assert put_to_sleep(router, WakeTarget("b", ("b-server",))) == "b: sleeps when its requests have ended"
    assert router.calls == [("wake instance", "b-server"), ("wake model", "m"), ("sleep", "b-server")]


def test_a_wait_ends_when_one_instance_of_the_model_is_awake():
    before = [service("a", "starting", "m"), service("b", "asleep", "m")]
    router = Router(before, None, [service("a", "running", "m"), before[1]])
    progress = waited(router, [WakeTarget("m", ("a-server", "b-server"), is_model=True)])
    assert progress.lines == ["m: awake on a"]
    assert progress.shown == ["m: a: starting; b: asleep", "m: not registered"]


def test_an_instance_that_runs_but_gets_no_requests_is_not_awake():
    assert not is_awake(service("a", "running", healthy=False))
    assert not is_awake({"name": "a-server", "healthy": True, "status": "starting"})


def test_a_wait_for_sleep_shows_the_requests_in_flight():
    busy = service("a", "draining", "m", in_flight=2)
    progress = waited(Router([busy], [service("a", "asleep")]), [WakeTarget("a", ("a-server",))], is_asleep, "asleep")
    assert (progress.shown, progress.lines) == (["a: draining: 2 in flight"], ["a: asleep"])


def test_a_wait_that_takes_too_long_says_what_is_missing():
    router = Router([service("a", "asleep"), service("b", "running")])
    with pytest.raises(CommandError, match="a: not awake after 5 s: asleep; `svc doctor` and `svc logs` show more"):
        waited(router, [WakeTarget("b", ("b-server",)), WakeTarget("a", ("a-server",))])
