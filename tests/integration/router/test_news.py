"""The events that a router reports to a real registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.registry.process import Registry
from tests.integration.router.client import post
from tests.integration.router.failing_scripts import closes
from tests.integration.router.instance import Instance
from tests.integration.router.listed import at
from tests.integration.router.routers import Router, router
from tests.waiting import wait_until


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path, "--store", f"sqlite:{tmp_path}/registry.db", "--health-interval", "600")
    yield made.start()
    made.end()


def events_of(registry: Registry, kind: str) -> list[dict[str, str]]:
    return registry.client.events(only={"kind": kind})[0]


def ask(own: Router) -> int:
    with own.client() as client:
        return client.send(post({"model": "m"})).answer().status


def following(registry: Registry) -> list[object]:
    quick = ("--registry-sync-interval", 0.1, "--health-interval", 0.2, "--health-timeout", 1, "--max-ejected", 1)
    return ["--registry-url", registry.client.urls[0], "--max-errors", 1, *quick]


def test_an_ejection_is_an_event_with_the_router_as_its_source(registry: Registry, a: Instance):
    registry.client.register(at(a, "one", "m"))
    with router(*following(registry)) as own:
        wait_until(lambda: own.service("one")["healthy"])
        a.script = closes  # `play` would cut a health check: the ejection of a sick instance is no news
        ask(own)
        (event,) = wait_until(lambda: events_of(registry, "ejected"), description="the ejection to be told")
        assert (event["service"], event["level"]) == ("one", "bad")
        assert event["message"].startswith(
            "a request failed: it closed the connection without an answer; nothing new for "
        )
        assert event["source"].startswith("router-")
        assert event["source"].endswith(f"-{own.port}")


def test_the_start_of_a_router_is_an_event(registry: Registry):
    for number in (1, 2):
        with router(*following(registry)) as own:
            events = wait_until(
                lambda n=number: len(events_of(registry, "started")) == n and events_of(registry, "started")
            )
            assert (events[-1]["service"], events[-1]["level"]) == ("router", "info")
            assert events[-1]["source"].endswith(f"-{own.port}")


def test_events_are_sent_once_the_registry_is_back(registry: Registry, a: Instance):
    registry.client.register(at(a, "one", "m"))
    with router(*following(registry)) as own:
        wait_until(lambda: own.service("one")["healthy"])
        registry.end()
        a.sick = True
        wait_until(lambda: not own.service("one")["healthy"], description="the router to find it sick")
        a.sick = False
        wait_until(lambda: own.service("one")["healthy"], description="the router to find it well")
        assert ask(own) == 200
        registry.start()
        wait_until(lambda: events_of(registry, "passing"), timeout=20, description="the registry to hear of it")
        assert [event["kind"] for event in events_of(registry, "failing,passing")] == ["failing", "passing"]
        assert "svc_router_events_dropped_total 0.0" in own.get("/metrics").text
        assert "Traceback" not in own.output()
