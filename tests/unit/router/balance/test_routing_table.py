from svc.router.balance.routing_table import build
from tests.unit.router.examples import target


def test_candidates_are_running_not_drained_and_usable():
    targets = [
        target("a", "m"),
        target("b", "m", status="starting"),
        target("c", "m", drained=True),
        target("d", "m", healthy=False),
        target("e", "m", healthy=False),
        target("f", "m", healthy=True),
        target("g", "n"),
    ]
    table = build(targets, lambda t: {"e": True, "f": False}.get(t.name, t.healthy is not False))
    assert table.candidates == {"a", "e", "g"}
    assert [m.name for m in table.pool("m").members] == ["a", "e"]
    assert [m.name for m in table.pool(None).members] == ["a", "e", "g"]
    assert table.pool("none") is None
    assert table.serves("n")
    assert not table.serves("none")


def test_unusable_instances_are_tried_where_there_are_no_others():
    table = build([target("a", "m", "n"), target("b", "n"), target("c", "m", status="failed")], lambda t: t.name == "b")
    assert table.candidates == {"b"}
    assert [m.name for m in table.pool("m").members] == ["a"]
    assert [m.name for m in table.pool("n").members] == ["b"]


def test_a_model_is_returning_when_all_its_instances_are():
    targets = [target("a", "m", "n", status="starting"), target("b", "n"), target("c", "o", status="failed")]
    assert build([*targets, target("d", "p", status="starting", drained=True)], lambda t: True).returning == {"m"}


def test_pools_keep_their_keys_when_the_table_changes():
    tagged = {"cache_type": "static"}
    before, after = build([target("a", "m", metadata=tagged)], bool), build([target("b", "m", metadata=tagged)], bool)
    assert before.pool("m").key == after.pool("m").key == "m"
    assert before.pool("m").by_cache_type["static"].key == after.pool("m").by_cache_type["static"].key != "m"
    assert before.pool(None).key == ""


def test_a_model_is_asleep_while_it_has_only_instances_on_demand_that_may_wake():
    on_demand = {"on_demand": True, "wake_timeout": 30}
    targets = [
        target("a", "m", "n", status="asleep", metadata=on_demand),
        target("b", "m", status="draining", metadata={**on_demand, "wake_timeout": 40}),
        target("c", "n"),
        target("d", "o", status="asleep", metadata=on_demand, drained=True),
        target("e", "p", status="failed", metadata=on_demand),
        target("f", "q", status="starting"),
    ]
    table = build(targets, lambda t: True)
    assert table.asleep == {"m": 40}
    assert [table.can_serve(model) for model in "mnopq"] == [True, True, False, False, True]
