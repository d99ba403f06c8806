"""What the router tells of instances, and what becomes of it while nobody hears it."""

import pytest

from svc.errors import BadRequest, Unavailable
from svc.router import news
from svc.router.news import News, Teller
from tests.unit.router.made import Clock, state, target


class Registry:
    def __init__(self):
        self.told = []
        self.trouble = None

    def tell(self, events):
        if self.trouble:
            raise self.trouble
        self.told += [(event["kind"], event["service"]) for event in events]


@pytest.fixture
def registry():
    return Registry()


def test_what_happens_is_told_once_and_in_order(registry):
    made = News(8000)
    teller = Teller(made, registry)
    made.add("ejected", "a", "3 failures")
    made.add("readmitted", "a")
    teller.once()
    teller.once()
    assert registry.told == [("ejected", "a"), ("readmitted", "a")]


def test_while_the_registry_is_away_it_is_kept_up_to_a_limit(registry, monkeypatch):
    monkeypatch.setattr(news, "KEPT", 3)
    made = News(8000)
    registry.trouble = Unavailable("away")
    for number in range(5):
        made.add("ejected", f"n{number}")
        Teller(made, registry).once()
    registry.trouble = None
    Teller(made, registry).once()
    assert [name for _, name in registry.told] == ["n2", "n3", "n4"]
    assert made.dropped == 2


def test_what_is_refused_is_lost_and_said_once(registry, caplog):
    made = News(8000)
    teller = Teller(made, registry)
    registry.trouble = BadRequest("no such path")
    for _ in range(3):
        made.add("ejected", "a")
        teller.once()
    assert (made.dropped, made.next()) == (3, [])
    assert len([r for r in caplog.records if "takes no events" in r.message]) == 1


def test_the_router_tells_of_its_checks_and_ejections():
    clock = Clock()
    one = target("a", "m")
    made = state(one, clock=clock, max_errors=1)
    woken = []
    made.news.added = lambda: woken.append(1)
    made.begin(one, False)
    made.observe(one, 0.1, failed=True, faulty=True)
    clock.now = made.now = clock.now + 20
    made.sweep()
    made.begin(one, False)
    made.observe(one, 0.1, failed=False)
    made.checked("a", False)
    made.checked("a", True)
    made.checked("a", True)
    told = made.news.next()
    assert [event["kind"] for event in told] == ["ejected", "readmitted", "failing", "passing"]
    assert told[0]["message"].startswith("requests to it failed: for ")
    assert {event["service"] for event in told} == {"a"}
    assert len(woken) == 4
