"""What the registry and the routers say together about an instance."""

import pytest

from svc.rollout.observation import RolloutObservation, is_serving, requests_in_flight, routers_without

HEALTHY = {"a-server": {"is_healthy": True}, "b-server": {"is_healthy": False}}


def observed(*routers, services=HEALTHY):
    return RolloutObservation(0, services, routers, {})


@pytest.mark.parametrize(
    ("observation", "serves"),
    [
        (observed({"a-server": (True, 0)}), True),
        (observed({"a-server": (True, 0)}, {"a-server": (False, 0)}), False),
        (observed({"a-server": (True, 0)}, None), True),
        (observed({}), False),
        (observed({"a-server": (True, 0)}, services=None), False),
    ],
    ids=["used", "ejected by one router", "one router silent", "unknown to the router", "registry silent"],
)
def test_an_instance_serves_if_it_is_healthy_and_every_answering_router_uses_it(observation, serves):
    assert is_serving("a-server", observation) is serves


def test_an_unhealthy_instance_does_not_serve_although_a_router_uses_it():
    assert not is_serving("b-server", observed({"b-server": (True, 0)}))


@pytest.mark.parametrize(
    ("routers", "count"),
    [
        ([{"a-server": (False, 2)}, {"a-server": (False, 3)}], 5),
        ([{"a-server": (True, 0)}], 1),
        ([{}], 0),
        ([{"a-server": (False, 0)}, None], None),
    ],
    ids=["two routers", "still used", "not listed", "one router silent"],
)
def test_requests_in_flight_are_those_of_all_routers(routers, count):
    assert requests_in_flight("a-server", routers) == count


def test_a_router_of_another_site_is_recognized_by_its_list():
    routers = [{"a-server": (True, 0)}, {"x-server": (True, 0)}, None]
    assert routers_without(["a-server"], observed(*routers)) == [1]


def test_a_router_is_not_judged_by_instances_that_are_unhealthy():
    assert routers_without(["b-server"], observed({})) == []
