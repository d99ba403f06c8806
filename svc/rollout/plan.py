"""`svc plan`: compares the files with the running groups, and finds models that would lose all healthy instances."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from svc.base.errors import SvcError
from svc.client.registry import RegistryClient
from svc.config.instance.load import load
from svc.config.instance.model import InstanceConfig
from svc.config.instance.registry_use import registry_uses
from svc.config.site import Site
from svc.rollout.availability import Loss, losses
from svc.rollout.journal import Journal
from svc.rollout.observation import RolloutObservation, routers_without
from svc.rollout.observer import Observer
from svc.rollout.plan_report import PlanReport, file_rows, plan_report
from svc.rollout.proposal import Proposal, propose
from svc.rollout.tasks import InstanceOperation, Step, Task, instance_operations
from svc.settings import Settings
from svc.site import supervisord_end
from svc.site.access import explaining_errors

# A function that returns a client of the registry and the URLs of the routers. It is called only if an instance has
# to stop.
Connect = Callable[[], tuple[RegistryClient, Sequence[str]]]


def plan(
    site: Site, settings: Settings, environ: Mapping[str, str], tomls: Sequence[str], connect: Connect
) -> PlanReport:
    """Return a report on what `svc apply` would do; change nothing.

    `settings` must not depend on the environment; `environ` is passed to `propose`.
    """
    with supervisord_end.explained(site):
        return _plan(site, propose(site, settings, environ, tomls), tomls, connect)


def _plan(site: Site, proposal: Proposal, tomls: Sequence[str], connect: Connect) -> PlanReport:
    settings = proposal.source.settings
    supervisord, notes = proposal.supervisord, list(_proposal_notes(proposal))
    lost: list[Loss] | None = None
    try:
        lost = _losses(site, proposal, connect, notes)
    except SvcError as error:
        notes.append(error.message)
    return plan_report(
        proposal.changes,
        file_rows(proposal.files.added, proposal.files.changed, proposal.files.removed),
        supervisord.pid() if supervisord else None,
        {name: process.state for name, process in supervisord.processes().items()} if supervisord else {},
        lost,
        registry_uses(_configs(site, proposal, tomls), settings),
        [str(path) for path in proposal.foreign],
        notes,
    )


def _configs(site: Site, proposal: Proposal, tomls: Sequence[str]) -> list[InstanceConfig]:
    """Return the configurations of the instances that run after the update."""
    settings, names = proposal.source.settings, {component.name for component in proposal.components}
    configs = load(site.tomls(tuple(tomls), settings.launch.babysitter_configs), settings)
    return [config for config in configs if config.name in names]


def _losses(site: Site, proposal: Proposal, connect: Connect, notes: list[str]) -> list[Loss]:
    """Return the models that would lose their last healthy instance, and append warnings about routers to `notes`.

    Connect to registry and routers only if an instance has to stop.
    """
    if proposal.supervisord is None or not any(change.interrupts for change in proposal.changes):
        return []
    registry, router_urls = connect()
    with explaining_errors("tell which models have no instance meanwhile", registry):
        registry.services()
    steps = _steps(proposal, Journal.load(site))
    observation = Observer(proposal.supervisord, registry, tuple(router_urls)).observe()
    predicted, warnings = predicted_losses(steps, observation, router_urls)
    notes += warnings
    return predicted


def predicted_losses(
    steps: Sequence[Step], observation: RolloutObservation, router_urls: Sequence[str]
) -> tuple[list[Loss], list[str]]:
    """Return the losses, and a note for each router that is ignored.

    A router is ignored if it does not answer, or if it lists none of the instances that would stop.
    """
    names = [step.task.service_name for step in steps if step.task.operation.stops]
    silent = [index for index, router in enumerate(observation.routers) if router is None]
    wrong = routers_without(names, observation)
    routers = [router for index, router in enumerate(observation.routers) if index not in wrong]
    notes = [_silent_router_note(router_urls[index]) for index in silent]
    notes += [_wrong_router_note(router_urls[index]) for index in wrong]
    return losses(steps, dataclasses.replace(observation, routers=routers)), notes


def _steps(proposal: Proposal, journal: Journal) -> list[Step]:
    """Return the initial steps of `svc apply`, also those for instances that an earlier rollout left unfinished."""
    operations = instance_operations(proposal.changes)
    known = {component.name for component in proposal.components}
    for name in journal.unfinished(operations):
        operations[name] = InstanceOperation.FINISH if name in known else InstanceOperation.REMOVE
    tasks = [Task(name, operation) for name, operation in operations.items()]
    return [Step(task, owns_drain=task.service_name in journal.drained) for task in tasks]


def _proposal_notes(proposal: Proposal) -> Iterator[str]:
    if proposal.supervisord and proposal.source.conf in proposal.files.changed:
        yield (
            f"{proposal.source.conf}: supervisord itself reads it when it starts: "
            "what changes in it counts after `svc down` and `svc up`"
        )
    for name in proposal.silent:
        yield f"{name}: its babysitter does not answer, so it is not known whether it has read its TOML as it is now"


def _silent_router_note(url: str) -> str:
    return (
        f"the router at {url} does not answer, so which instances it uses is unknown; "
        "`svc apply` stops an instance only when it answers, or with --allow-downtime"
    )


def _wrong_router_note(url: str) -> str:
    return (
        f"the router at {url} knows none of the instances that would stop, so it is not asked; "
        "name the one that sends them requests with ROUTER_URL"
    )
