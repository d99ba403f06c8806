from svc.config.upstream_keys import UpstreamKeys
from svc.router.balance.target import Discovery
from tests.unit.router.examples import Clock, state, target

A = target("a", "m")


def test_instances_have_the_keys_of_the_file_as_it_is_now():
    router = state(target("a", "m"), target("b", "n", "m"), target("c"))
    keys = lambda: {t.name: t.key for t in router.balancer.table.targets}  # noqa: E731
    router.set_upstream_keys(UpstreamKeys({"a": "of-a"}, {"m": "of-m"}))
    assert keys() == {"a": "of-a", "b": "of-m", "c": ""}
    router.replace_targets([target("a", "m"), target("d", "m")])
    assert keys() == {"a": "of-a", "d": "of-m"}
    router.set_upstream_keys(UpstreamKeys())
    assert keys() == {"a": "", "d": ""}


def test_client_keys_are_withheld_while_models_are_unknown():
    """A key under [models] may be the one of this instance, once its list of models can be read."""
    router = state(target("a", discovers_models=True), target("b", "m", discovers_models=True), target("c"))
    hidden = lambda: {t.name for t in router.balancer.table.targets if t.authorization == b""}  # noqa: E731
    assert hidden() == set()
    router.set_upstream_keys(UpstreamKeys({}, {"n": "of-n"}))
    assert hidden() == {"a"}
    router.set_upstream_keys(UpstreamKeys({"a": "of-a"}, {"n": "of-n"}))
    assert hidden() == set()


def test_the_health_of_an_instance_with_another_key_begins_anew():
    router = state(target("a", "m"), max_errors=1, max_ejected=1)
    router.balancer.begin_attempt(A)
    router.balancer.end_attempt(A, 1.0, failed=True, ejection_reason="it refuses the key")
    assert router.balancer.table.candidates == frozenset()
    router.set_upstream_keys(UpstreamKeys({"a": "right"}))
    assert router.balancer.table.candidates == {"a"}


def test_request_ids_are_all_different():
    router, other = state(), state()
    assert len({s.request_id() for s in (router, other) for _ in range(100)}) == 200


def test_a_discovery_of_nothing_new_replaces_no_table():
    router = state(target("a", static=True))
    before = router.balancer.table
    router.set_discovery("a", Discovery())
    assert router.balancer.table is before


def test_discoveries_of_many_services_at_once_are_applied_together():
    clock = Clock()
    names = [f"s{number:03}" for number in range(300)]
    router = state(*(target(name, static=True, discovers_models=True) for name in names), clock=clock)
    tables = {id(router.balancer.table): router.balancer.table}
    for name in names:
        clock.now += 0.001
        router.set_discovery(name, Discovery(models=({"id": name},)))
        tables[id(router.balancer.table)] = router.balancer.table
    assert 5 < len(tables) < 15
    clock.now += 1
    router.sweep()
    assert router.balancer.table.models == frozenset(names)


def test_the_discovery_of_one_service_of_many_is_applied_at_once():
    clock = Clock()
    router = state(*(target(f"s{number}", static=True) for number in range(300)), clock=clock)
    clock.now += 1
    router.set_discovery("s7", Discovery(models=({"id": "m"},)))
    assert router.balancer.table.models == {"m"}
