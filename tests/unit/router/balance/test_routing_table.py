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
