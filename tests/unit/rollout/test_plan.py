"""The models that `svc plan` warns of, by what the registry and the routers report."""

from svc.rollout.availability import Loss
from svc.rollout.observation import RolloutObservation
from svc.rollout.plan import predicted_losses
from svc.rollout.tasks import InstanceOperation, Step, Task

RESTART_A = [Step(Task("a", InstanceOperation.RESTART))]
SERVICES = {f"{name}-server": {"is_healthy": True, "metadata": {"models": ["m"]}} for name in "ab"}


def predicted(*routers):
    urls = [f"http://router{number}" for number in range(len(routers))]
    return predicted_losses(RESTART_A, RolloutObservation(0, SERVICES, routers, {}), urls)


def test_a_model_whose_other_instance_a_router_has_ejected_is_lost():
    assert predicted({"a-server": (True, 0), "b-server": (True, 0)}) == ([], [])
    assert predicted({"a-server": (True, 0), "b-server": (False, 0)}) == ([Loss("m", "a", False)], [])


def test_a_router_that_does_not_answer_does_not_count_and_is_noted():
    losses, [note] = predicted({"a-server": (True, 0), "b-server": (True, 0)}, None)
    assert losses == []
    assert note.startswith("the router at http://router1 does not answer")


def test_a_router_that_knows_no_instance_does_not_count_and_is_noted():
    losses, [note] = predicted({"a-server": (True, 0), "b-server": (True, 0)}, {})
    assert losses == []
    assert note.startswith("the router at http://router1 knows none of the instances that would stop")
