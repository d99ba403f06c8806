"""What a rollout is refused for before it begins, by what the registry and the routers report."""

import dataclasses
from pathlib import Path

import pytest

from svc.base.errors import CommandError, ConfigError
from svc.client.registry import RegistryClient
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.rollout.context import RolloutContext, RolloutOptions
from svc.rollout.journal import Journal
from svc.rollout.observation import RolloutObservation
from svc.rollout.observer import Observer
from svc.rollout.tasks import InstanceOperation, RolloutLimits, Task
from svc.site.components import Component
from svc.supervision.client import SupervisordClient
from svc.terminal.console import Console

REGISTRY = "http://registry:18000"
OTHER_REGISTRY = "http://elsewhere:18000"
BOTH_ROUTED = {"a-server": (True, 0), "b-server": (True, 0)}
RESTART_A = [Task("a", InstanceOperation.RESTART)]
NO_JOURNAL = Journal(Path("rollout.json"))


def component(name, registry_url=REGISTRY):
    programs = (f"{name}:server", f"{name}:babysitter")
    return Component(name, "babysitter", "gpu7", (8100, 8101), programs, registry_url)


def context(*routers, healthy="ab", listed="ab", allow_downtime=False, components=()):
    """Return a context in which the registry lists instances of one model, of which some are healthy."""
    services = {f"{name}-server": {"is_healthy": name in healthy, "metadata": {"models": ["m"]}} for name in listed}
    urls = tuple(f"http://router{number}:8000" for number in range(len(routers)))
    observer = Observer(SupervisordClient("unix:///nowhere"), RegistryClient([REGISTRY]), urls)
    options = RolloutOptions(load_settings(), RolloutLimits(allow_downtime=allow_downtime))
    states = {"a:server": "RUNNING", "a:babysitter": "RUNNING"}
    observation = RolloutObservation(0, services, routers, states)
    by_name = {component.name: component for component in components}
    return RolloutContext(Site(Path()), options, observer, Path("conf.d"), by_name, observation, Console())


def test_an_instance_may_restart_while_another_serves_its_model():
    context(BOTH_ROUTED).require_availability(RESTART_A, NO_JOURNAL)


def test_the_last_healthy_instance_of_a_model_may_not_restart():
    with pytest.raises(ConfigError, match="a: it is the last healthy instance of m; start another first"):
        context(BOTH_ROUTED, healthy="a").require_availability(RESTART_A, NO_JOURNAL)


def test_downtime_that_the_operator_allows_is_not_refused():
    context(BOTH_ROUTED, healthy="a", allow_downtime=True).require_availability(RESTART_A, NO_JOURNAL)


def test_a_router_of_another_site_is_refused_by_its_address():
    with pytest.raises(CommandError, match="the router at http://router1:8000 knows nothing of a"):
        context(BOTH_ROUTED, {"x-server": (True, 0)}).require_listing_routers(RESTART_A)


def test_an_unhealthy_instance_does_not_make_a_router_wrong():
    context(BOTH_ROUTED, healthy="a").require_listing_routers(RESTART_A)


def test_a_running_instance_of_another_registry_is_not_stopped():
    running = context(BOTH_ROUTED, listed="b", components=[component("a", OTHER_REGISTRY)])
    with pytest.raises(CommandError, match=f"a: it registers at {OTHER_REGISTRY}"):
        running.task("a", InstanceOperation.RESTART)
    assert not running.task("a", InstanceOperation.ADD).listed


def test_an_instance_that_will_register_at_this_registry_counts_as_listed():
    assert context(BOTH_ROUTED, listed="b", components=[component("a")]).task("a", InstanceOperation.ADD).listed


def test_an_instance_on_demand_can_sleep_before_it_is_changed():
    on_demand = dataclasses.replace(component("a"), on_demand=True)
    with pytest.raises(ConfigError, match="last healthy instance of m; put it to sleep first .`svc sleep a --wait`"):
        context(BOTH_ROUTED, healthy="a", components=[on_demand]).require_availability(RESTART_A, NO_JOURNAL)


def test_an_instance_that_is_asleep_can_wake_before_another_is_changed():
    site = context(BOTH_ROUTED, healthy="a")
    site.observation.services["b-server"]["status"] = "asleep"
    with pytest.raises(ConfigError, match="wake another first .`svc wake b --wait`., or give --allow-downtime"):
        site.require_availability(RESTART_A, NO_JOURNAL)


@pytest.mark.parametrize(
    ("status", "operation", "wakes"),
    [
        ("running", InstanceOperation.RESTART, True),
        ("running", InstanceOperation.REPLACE, True),
        ("running", InstanceOperation.FINISH, False),
        ("asleep", InstanceOperation.REPLACE, False),  # its engine sleeps, its process runs
    ],
)
def test_an_instance_on_demand_is_awake_after_a_change_if_it_was_before(status, operation, wakes):
    on_demand = dataclasses.replace(component("a"), on_demand=True)
    site = context(BOTH_ROUTED, components=[on_demand])
    site.observation.services["a-server"]["status"] = status
    task = site.task("a", operation)
    assert (task.on_demand, task.wakes) == (True, wakes)
    assert not context(BOTH_ROUTED, components=[component("a")]).task("a", operation).on_demand
