"""The page's feed: rates, history, states, and subscribers that do not read."""

import json

import pytest

from svc.base.counter_rates import RateWindow, RecentCounts
from svc.base.errors import RateLimited
from svc.router.balance.wakes import WakeState
from svc.router.telemetry.statistics import ModelStatistics
from svc.router.ui import subscribers, view
from svc.router.ui.app import INDEX, page_files
from svc.router.ui.feed import Feed
from svc.router.ui.subscribers import KEEPALIVE_COMMENT, MAX_SUBSCRIBERS, MAX_UNREAD_MESSAGES, Subscribers
from tests.unit.router.examples import Clock, state, target


def events_by_name(data: bytes) -> dict[str, list]:
    """Events by name."""
    events: dict[str, list] = {}
    for block in data.decode().split("\n\n")[:-1]:
        name, body = block.split("\n")
        events.setdefault(name.removeprefix("event: "), []).append(json.loads(body.removeprefix("data: ")))
    return events


# States.


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, "healthy"),
        ({"status": "starting"}, "starting"),
        ({"drained": True}, "drained"),
        ({"drained": True, "status": "stopping"}, "drained, stopping"),
        ({"healthy": False}, "unhealthy"),
        ({"healthy": False, "lease_valid": False}, "expired"),
    ],
)
def test_the_state_is_that_of_the_registry(more: dict, word: str):
    of = target("a", "m", **more)
    assert view.instance_state(state(of), of) == word


def test_the_router_adds_what_it_has_observed_itself():
    of = target("a", "m")
    router = state(of, max_errors=1)
    router.balancer.begin_attempt(of, False)
    router.balancer.end_attempt(of, 0.1, failed=True, ejection_reason=True)
    assert view.instance_state(router, of) == "ejected"
    other = state(of, max_errors=1)
    other.balancer.record_check("a", False)
    assert view.instance_state(other, of) == "unhealthy"


@pytest.mark.parametrize("value", [True, "3", None, 1.5])
def test_invalid_metadata_of_an_instance_is_not_shown(value):
    of = target("a", "m", metadata={"restarts": value, "restart_reason": ["x"]})
    shown = view.site(state(of))["instances"][0]
    assert (shown["restarts"], shown["restart_reason"]) == (None, "")


def test_restarts_and_aliases_are_shown():
    metadata = {"restarts": 2, "restart_reason": "exit code 1" + "!" * 999}
    shown = view.site(state(target("a", "m", metadata=metadata), aliases=(("gpt", "m"),)))
    model = {"name": "m", "aliases": ["gpt"], "fallback": "", "instances": ["a"], "fate": "served"}
    assert shown["models"] == [model]
    instance = shown["instances"][0]
    assert (instance["restarts"], instance["restart_reason"][:11], len(instance["restart_reason"])) == (
        2,
        "exit code 1",
        200,
    )


def fates(router) -> dict[str, tuple]:
    return {model["name"]: (model["fate"], model.get("by")) for model in view.site(router)["models"]}


def test_the_availability_of_each_model_is_shown():
    out = target("out", "tried")
    router = state(
        target("well", "served"),
        out,
        target("soon", "waits", status="starting"),
        target("off", "refused", drained=True),
        target("gone", "replaced", drained=True),
        target("sleeps", "asleep", status="asleep", metadata={"on_demand": True}),
        target("kept out", "drained", status="asleep", drained=True, metadata={"on_demand": True}),
        target("sleeps too", "waits", status="asleep", metadata={"on_demand": True}),
        max_errors=1,
        max_ejected=1.0,
        fallbacks=(("replaced", "served"),),
    )
    router.balancer.begin_attempt(out, False)
    router.balancer.end_attempt(out, 0.1, failed=True, ejection_reason=True)
    assert fates(router) == {
        "served": ("served", None),
        "tried": ("tried", None),
        "waits": ("waits", None),
        "refused": ("refused", None),
        "replaced": ("replaced", "served"),
        "asleep": ("asleep", None),
        "drained": ("refused", None),
    }


def test_the_reason_why_a_model_is_not_awake_yet_is_shown():
    router = state(target("a", "m", status="asleep", metadata={"on_demand": True}))
    router.balancer.wakes.states = {"m": WakeState("gpu1: needs 38 GB, 12 GB free")}
    (model,) = view.site(router)["models"]
    assert (model["fate"], model["reason"]) == ("asleep", "gpu1: needs 38 GB, 12 GB free")
    router.balancer.wakes.states = {"m": WakeState("gpu1: needs 38 GB, has 24 GB", impossible=True)}
    (model,) = view.site(router)["models"]
    assert (model["fate"], model["reason"]) == ("refused", "gpu1: needs 38 GB, has 24 GB")


def test_errors_for_no_model_are_shown_together_and_unknown_names_by_name():
    router, lately = state(target("a", "m")), RecentCounts()
    router.statistics.models["m"].statuses[503] = 9
    for label in ("", "unknown", "left"):
        router.statistics.models[label].statuses[503] = 2
    router.statistics.unknown_models["gema"] = 2
    expected = {"kinds": {"503": 4}, "lately": {"503": 4}, "names": {"gema": 2}}
    assert view.unserved(router, lately) == expected
    for _ in range(200):
        lately.add({view.UNKNOWN_MODELS: {"gema": 2}})
    assert view.unserved(router, lately)["names"] == {}, "long ago"


def test_an_instance_on_demand_shows_how_long_it_loads():
    metadata = {"on_demand": True, "load_seconds": 38.5}
    shown = view.site(state(target("a", "m", status="asleep", metadata=metadata), target("b", "m")))["instances"]
    assert [(i["state"], i["level"], i["on_demand"], i["load_seconds"]) for i in shown] == [
        ("asleep", "info", True, 38.5),
        ("healthy", "good", False, None),
    ]
    odd = target("a", "m", metadata={"on_demand": "yes", "load_seconds": True})
    (shown,) = view.site(state(odd))["instances"]
    assert (shown["on_demand"], shown["load_seconds"]) == (False, None)


@pytest.mark.parametrize(
    ("more", "command"),
    [
        ({}, ""),
        ({"drained": True}, "svc undrain a"),
        ({"drained": True, "status": "stopped"}, "svc undrain a"),
        ({"status": "stopped"}, ""),
        ({"status": "stopped", "metadata": {"parent_service": "demo3"}}, "supervisorctl start demo3:server"),
        ({"status": "stopped", "metadata": {"parent_service": "demo3; rm -rf /"}}, ""),
        ({"status": "failed", "metadata": {"parent_service": "demo3"}}, ""),
    ],
)
def test_an_instance_that_an_operator_stopped_has_a_command(more: dict, command: str):
    assert view.site(state(target("a", "m", **more)))["instances"][0]["command"] == command


def test_a_model_names_the_instances_that_failed_in_the_last_minute():
    router = state(target("a", "m", "n"), target("b", "m"), target("c", "n"))
    router.statistics.instances["b"].errors = 3
    router.statistics.instances["c"].errors = 1
    minute = RecentCounts(points=0)
    minute.add({"c": {"errors": 1}})
    window = RateWindow(0.0)
    models = view.models(router, window, RecentCounts(), RecentCounts(), minute)
    assert {name: model["failed_at"] for name, model in models.items()} == {"m": {"b": 3}, "n": {}}


def test_errors_of_clients_are_no_failed_requests():
    router = state(target("a", "m"))
    meter = router.statistics.models["m"]
    meter.statuses.update({200: 5, 400: 3, 429: 1, 499: 2, 503: 4})
    meter.broken.update({"cut": 1, "timeout": 1, "stopping": 1})
    assert view.outcomes_by_model(router) == {"m": {"requests": 15, "failed": 6}}
    assert dict(meter.broken) == {"cut": 1, "timeout": 1, "stopping": 1}, "looking leaves no trace"


def test_each_error_is_counted_under_one_kind():
    meter = ModelStatistics()
    meter.statuses.update({200: 9, 404: 2, 499: 5, 503: 1})
    meter.broken["cut"] = 3
    assert view.errors_by_kind(meter) == {"404": 2, "503": 1, "cut": 3}


# Pages.


def test_a_subscriber_that_does_not_read_is_ended():
    pages = Subscribers()
    page = pages.add([b"first"])
    for _ in range(MAX_UNREAD_MESSAGES - 1):
        pages.send(b"x")
    pages.send(b"one too many")
    assert list(page) == []
    page.close()
    assert len(pages) == 0


def test_a_subscriber_gets_all_its_messages_or_a_keepalive_comment(monkeypatch):
    monkeypatch.setattr(subscribers, "KEEPALIVE_INTERVAL_SECONDS", 0.01)
    pages = Subscribers()
    page = pages.add([b"a", b"b"])
    assert [next(page), next(page)] == [b"ab", KEEPALIVE_COMMENT]
    pages.end()
    assert list(page) == []


def test_the_number_of_subscribers_is_limited():
    pages = Subscribers()
    opened = [pages.add([]) for _ in range(MAX_SUBSCRIBERS)]
    with pytest.raises(RateLimited):
        pages.add([])
    opened[0].close()
    pages.add([])


# The pulse.


class Site:
    def __init__(self) -> None:
        self.clock = Clock()
        self.state = state(target("a", "m"), target("b", "m", "n"), clock=self.clock)
        self.feed = Feed(self.state, now=lambda: 7.0, site_name="prod", hostname="ops1")

    def beats(self, count: int) -> None:
        for _ in range(count):
            self.clock.now += 0.5
            self.feed.update()

    def served(self, name: str) -> None:
        of = next(t for t in self.state.balancer.table.targets if t.name == name)
        self.state.balancer.begin_attempt(of, False)
        self.state.balancer.end_attempt(of, 0.1, failed=False)


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_page_begins_with_everything(site: Site):
    site.beats(9)
    site.feed.add_events([{"id": 1}])
    first = events_by_name(next(site.feed.open()))
    assert list(first) == ["site", "history", "events", "tick"]
    assert len(first["history"][0]["models"]["m"]["requests"]) == 2
    assert first["events"] == [{"events": [{"id": 1}]}]
    assert sorted(first["tick"][0]["instances"]) == ["a", "b"]
    assert sorted(first["tick"][0]["models"]) == ["m", "n"]
    assert first["site"][0]["site"] == {"name": "prod", "host": "ops1"}


def test_the_error_rate_leaves_out_requests_for_unknown_models(site: Site):
    page = site.feed.open()
    next(page)
    for label in ("m", "unknown", ""):
        site.state.statistics.models[label].statuses[404] += 5
    site.beats(2)
    tick = events_by_name(next(page))["tick"][0]
    assert (tick["requests"], tick["errors"]) == (15.0, 5.0)


def test_ticks_have_changed_instances_and_the_site_only_its_changes(site: Site):
    page = site.feed.open()
    next(page)
    site.served("a")
    site.beats(2)
    second = events_by_name(next(page))
    assert list(second) == ["tick"]
    assert list(second["tick"][0]["instances"]) == ["a"]
    site.state.replace_targets([target("a", "m", drained=True)])
    site.beats(1)
    third = events_by_name(next(page))
    assert [i["state"] for i in third["site"][0]["instances"]] == ["drained"]
    site.state.replace_targets([target("a", "m", drained=True)])
    site.beats(2)
    assert list(events_by_name(next(page))) == ["tick"]


def test_a_page_that_opens_takes_no_changes_from_other_pages(site: Site):
    first = site.feed.open()
    site.beats(2)
    next(first)
    site.state.balancer.loads["b"] = 3
    site.feed.open()
    site.beats(2)
    assert list(events_by_name(next(first))["tick"][0]["instances"]) == ["b"]


def test_nothing_is_composed_while_no_page_is_open(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(view, "site", None)
    monkeypatch.setattr(view, "instances", None)
    site.beats(20)


def test_pages_connect_again_when_the_registry_has_lost_its_events(site: Site):
    site.feed.add_events([{"id": 5}])
    page = site.feed.open()
    site.feed.clear_events()
    assert list(page) == []
    assert events_by_name(next(site.feed.open()))["events"] == [{"events": []}]


# Files.


def test_all_files_that_the_page_loads_exist():
    shell = page_files()[INDEX].content.decode()
    for word in shell.split('"'):
        if word.startswith("/ui/"):
            assert word.removeprefix("/ui/") in page_files()
    assert "//" not in shell.replace("http://www.w3.org", "")
