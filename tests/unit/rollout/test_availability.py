"""The models that nobody would serve meanwhile."""

from svc.rollout.availability import Loss, losses
from svc.rollout.diff import difference
from tests.unit.rollout.groups import instance


def service(name, *models, healthy=True):
    return {"name": f"{name}-server", "is_healthy": healthy, "metadata": {"models": list(models)}}


def lost(running, wanted, *services):
    changes = difference({g.name: g for g in running}, {g.name: g for g in wanted})
    return losses(changes, services)


def test_a_model_with_another_healthy_instance_is_not_lost():
    running, wanted = [instance("a"), instance("b")], [instance("a", "new"), instance("b", "new")]
    assert lost(running, wanted, service("a", "m"), service("b", "m")) == [], "one after the other"


def test_the_last_healthy_one_is_told_on_whatever_host_the_others_are():
    running, wanted = [instance("a")], [instance("a", "new")]
    assert lost(running, wanted, service("a", "m", "n"), service("far", "m")) == [Loss("n", "a", False)]
    assert lost(running, wanted, service("a", "m"), service("b", "m", healthy=False)) == [Loss("m", "a", False)]


def test_one_that_is_removed_does_not_count_for_others():
    running, wanted = [instance("a"), instance("b")], [instance("a", "new")]
    told = lost(running, wanted, service("a", "m"), service("b", "m"))
    assert told == [Loss("m", "a", False)]
    told = lost([instance("a"), instance("b")], [], service("a", "m"), service("b", "m"))
    assert {(loss.instance, loss.forever) for loss in told} == {("a", True), ("b", True)}


def test_one_that_serves_nothing_now_and_a_babysitter_alone_lose_nothing():
    running, wanted = [instance("a")], [instance("a", "new")]
    assert lost(running, wanted, service("a", "m", healthy=False)) == []
    assert lost(running, wanted) == []
    assert lost(running, [instance("a", babysitter="new")], service("a", "m")) == []


def test_what_others_registered_is_read_with_care():
    running, wanted = [instance("a")], [instance("a", "new")]
    odd = {"name": "odd", "is_healthy": True, "metadata": {"models": "m"}}
    assert lost(running, wanted, service("a", "m"), odd) == [Loss("m", "a", False)]
