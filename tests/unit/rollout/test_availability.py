"""The rule for the last healthy instance of a model, as `svc plan` and `svc apply` use it."""

from svc.rollout.availability import Loss, losses, refused_losses
from svc.rollout.diff import difference
from svc.rollout.observation import RolloutObservation
from svc.rollout.tasks import InstanceOperation, Step, Task, instance_operations
from tests.unit.rollout.groups import instance


def service(name, *models, healthy=True, **more):
    return {"name": f"{name}-server", "is_healthy": healthy, "metadata": {"models": list(models)}, **more}


def observed(*services, ejected=()):
    """Every healthy instance is used by the router, except the ejected ones."""
    by_name = {service["name"]: service for service in services}
    router = {name: (service["is_healthy"] and name not in ejected, 0) for name, service in by_name.items()}
    return RolloutObservation(0, by_name, [router], {})


def steps(running, wanted):
    changes = difference({g.name: g for g in running}, {g.name: g for g in wanted})
    return [Step(Task(name, operation)) for name, operation in instance_operations(changes).items()]


def lost(running, wanted, *services, **more):
    return losses(steps(running, wanted), observed(*services, **more))


def test_a_model_with_another_healthy_instance_is_not_lost():
    running, wanted = [instance("a"), instance("b")], [instance("a", "new"), instance("b", "new")]
    assert lost(running, wanted, service("a", "m"), service("b", "m")) == [], "one after the other"


def test_a_model_is_lost_with_its_last_healthy_instance_on_all_hosts():
    running, wanted = [instance("a")], [instance("a", "new")]
    assert lost(running, wanted, service("a", "m", "n"), service("far", "m")) == [Loss("n", "a", False)]
    assert lost(running, wanted, service("a", "m"), service("b", "m", healthy=False)) == [Loss("m", "a", False)]


def test_plan_and_apply_both_report_a_model_whose_other_instance_is_ejected():
    plan = steps([instance("a")], [instance("a", "new")])
    ejected = observed(service("a", "m"), service("b", "m"), ejected=("b-server",))
    assert losses(plan, ejected) == refused_losses(plan, ejected) == [Loss("m", "a", False)]
    used = observed(service("a", "m"), service("b", "m"))
    assert losses(plan, used) == refused_losses(plan, used) == []


def test_a_removed_instance_serves_until_the_others_have_restarted():
    running, wanted = [instance("a"), instance("b")], [instance("a", "new")]
    assert lost(running, wanted, service("a", "m"), service("b", "m")) == [], "b is removed last"


def test_removed_instances_do_not_rely_on_each_other():
    both = lost([instance("a"), instance("b")], [], service("a", "m"), service("b", "m"))
    assert {(loss.instance, loss.forever) for loss in both} == {("a", True), ("b", True)}


def test_an_instance_that_serves_nothing_and_a_babysitter_alone_lose_nothing():
    running, wanted = [instance("a")], [instance("a", "new")]
    assert lost(running, wanted, service("a", "m", healthy=False)) == []
    assert lost(running, wanted) == []
    assert lost(running, [instance("a", babysitter="new")], service("a", "m")) == []


def test_models_that_are_no_list_are_ignored():
    running, wanted = [instance("a")], [instance("a", "new")]
    odd = {"name": "odd", "is_healthy": True, "metadata": {"models": "m"}}
    assert lost(running, wanted, service("a", "m"), odd) == [Loss("m", "a", False)]


def test_a_loss_is_not_refused_while_an_instance_is_added_that_may_bring_the_model():
    """`svc plan` reports it all the same: whether the new one brings the model shows when it has started."""
    plan = [Step(Task("a", InstanceOperation.RESTART)), Step(Task("new", InstanceOperation.ADD))]
    assert losses(plan, observed(service("a", "m"))) == [Loss("m", "a", False)]
    assert refused_losses(plan, observed(service("a", "m"))) == []


def test_an_unhealthy_instance_that_restarts_first_counts_with_its_models():
    plan = [Step(Task("a", InstanceOperation.RESTART)), Step(Task("b", InstanceOperation.RESTART))]
    unhealthy = service("b", "m", healthy=False, status="failed")
    assert losses(plan, observed(service("a", "m"), unhealthy)) == []
    drained = service("b", "m", healthy=False, drained=True)
    assert losses(plan, observed(service("a", "m"), drained)) == [Loss("m", "a", False)], "the operator's drain stays"


def test_an_instance_that_is_asleep_does_not_take_the_place_of_one_that_serves():
    running, wanted = [instance("a")], [instance("a", "new")]
    asleep = service("b", "m", healthy=False, status="asleep")
    assert lost(running, wanted, service("a", "m"), asleep) == [Loss("m", "a", False)]


def test_the_restart_of_an_instance_that_is_asleep_loses_nothing():
    running, wanted = [instance("a")], [instance("a", "new")]
    assert lost(running, wanted, service("a", "m", healthy=False, status="asleep")) == []


def test_a_removed_instance_that_is_asleep_must_not_be_the_last_of_its_model():
    asleep = service("a", "m", healthy=False, status="asleep")
    assert lost([instance("a")], [], asleep) == [Loss("m", "a", True)]
    assert lost([instance("a")], [], asleep, service("b", "m", healthy=False, status="asleep")) == []
    assert lost([instance("a")], [], asleep, service("b", "m")) == []
    assert lost([instance("a")], [], asleep, service("b", "m", healthy=False, status="stopped")) == [
        Loss("m", "a", True)
    ]


def waking(name, *models, **metadata):
    metadata = {"models": list(models), "on_demand": True, **metadata}
    return service(name, healthy=False, status="starting") | {"metadata": metadata}


def test_the_last_instance_that_wakes_is_not_restarted_because_requests_wait_for_it():
    running, wanted = [instance("a"), instance("b")], [instance("a", "new"), instance("b", "new")]
    assert lost(running, wanted, waking("a", "m")) == [Loss("m", "a", False)]
    assert lost(running, wanted, waking("a", "m"), service("b", "m")) == []
    assert lost(running, wanted, waking("a", "m"), waking("b", "m")) == [], "one after the other"


def test_an_instance_on_demand_whose_start_fails_again_and_again_can_be_restarted():
    running, wanted = [instance("a")], [instance("a", "new")]
    assert lost(running, wanted, waking("a", "m", restart_reason="Exited with code 1")) == []
    assert lost(running, wanted, waking("a", "m", on_demand=False)) == []
    assert lost(running, wanted, waking("a", "m") | {"drained": True}) == []
