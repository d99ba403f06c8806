"""Every check, in the order in which what they find is told: what lies at the root of other things comes first."""

import dataclasses
from collections.abc import Callable, Iterator

from svc.doctor.checks import (
    babysitters,
    clocks,
    command_lines,
    files,
    gpus,
    instances,
    leftovers,
    models,
    network,
    ports,
    programs,
    registry,
    resources,
    rollouts,
    router,
    supervisord,
    tokens,
    unseen,
    versions,
)
from svc.doctor.facts import Facts
from svc.doctor.findings import Finding


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """`seen`: whether there was something to look at; if not, its silence says nothing."""

    subject: str
    find: Callable[[Facts], Iterator[Finding]]
    seen: Callable[[Facts], bool] = lambda facts: True


def _runs(facts: Facts) -> bool:
    return facts.supervisor.pid is not None


def _listed(facts: Facts) -> bool:
    return facts.registry() is not None


def _routes(facts: Facts) -> bool:
    return facts.router is not None and not facts.router.health.error


CHECKS = (
    Check("site files", files.check),
    Check("disks, open files", resources.check),
    Check("tokens", tokens.check, lambda facts: bool(facts.secrets)),
    Check("command lines", command_lines.check, lambda facts: bool(facts.configs)),
    Check("leftovers", leftovers.check),
    Check("ports", ports.check),
    Check("supervisord", supervisord.check),
    Check("programs", programs.check, _runs),
    Check("rollouts", rollouts.check),
    Check("network", network.check, lambda facts: bool(facts.names)),
    Check("registry", registry.check, lambda facts: bool(facts.registries)),
    Check("babysitters", babysitters.check, lambda facts: _runs(facts) and bool(facts.instances)),
    Check("instances", instances.check, _listed),
    Check("router", router.check, _routes),
    Check("models", models.check, _routes),
    Check("GPUs", gpus.check, lambda facts: bool(facts.gpus.indices)),
    Check("versions", versions.check),
    Check("clocks", clocks.check, lambda facts: _listed(facts) or _routes(facts)),
    Check("what could not be seen", unseen.check, lambda facts: bool(facts.unseen)),
)


def findings(facts: Facts) -> list[Finding]:
    return [found for check in CHECKS for found in check.find(facts)]


def well(facts: Facts) -> list[str]:
    """The subjects that were looked at, and that nothing is said of."""
    return [check.subject for check in CHECKS if check.seen(facts) and not any(check.find(facts))]
