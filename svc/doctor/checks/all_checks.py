"""Runs all checks in the order in which findings are reported: likely root causes first."""

import dataclasses
from collections.abc import Callable, Iterator

from svc.doctor.checks import (
    adapters,
    babysitters,
    configuration,
    failed_requests,
    gpus,
    instances,
    listeners,
    models,
    network,
    program_states,
    registries,
    resources,
    routing,
    secrets,
    skew,
    supervisord,
)
from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """A check of one subject. If `applies` returns False, the subject is not called healthy: facts are missing."""

    subject: str
    find: Callable[[Facts], Iterator[Finding]]
    applies: Callable[[Facts], bool] = lambda facts: True


def _supervisord_runs(facts: Facts) -> bool:
    return facts.supervisord.pid is not None


def _is_listed(facts: Facts) -> bool:
    return facts.listing_registry() is not None


def _router_answers(facts: Facts) -> bool:
    return facts.router is not None and not facts.router.health.error


def _router_lists_instances(facts: Facts) -> bool:
    return facts.router is not None and facts.router.services.ok


def _check_uncollected(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each fact that could not be collected."""
    for fact in facts.uncollected:
        summary = f"{fact.subject}: could not be looked at"
        yield Finding(f"unseen.{fact.subject}", WARNING, summary, fact.reason, causes=("supervisord.denied",))


CHECKS = (
    Check("supervisord's process", supervisord.check_stopped, lambda facts: False),
    Check("site files", configuration.check_files),
    Check("disks, open files", resources.check),
    Check("tokens", secrets.check_files, lambda facts: bool(facts.secrets)),
    Check("command lines", secrets.check_command_lines, lambda facts: bool(facts.configs)),
    Check("leftovers", supervisord.check_leftovers),
    Check("ports", listeners.check, lambda facts: not facts.supervisord.problem),
    Check("supervisord", supervisord.check),
    Check("programs", program_states.check, _supervisord_runs),
    Check("rollouts", configuration.check_rollouts),
    Check("network", network.check, lambda facts: bool(facts.host_names)),
    Check("registry", registries.check, lambda facts: bool(facts.registries)),
    Check("babysitters", babysitters.check, lambda facts: _supervisord_runs(facts) and bool(facts.instances)),
    Check("instances", instances.check, _is_listed),
    Check("router", routing.check, _router_answers),
    Check("failed requests", failed_requests.check, lambda facts: _is_listed(facts) or _router_answers(facts)),
    Check("models", models.check, _router_lists_instances),
    Check("LoRA adapters", adapters.check, lambda facts: bool(adapters.loaded_adapters(facts))),
    Check("GPUs", gpus.check, lambda facts: bool(facts.gpus.indices)),
    Check("versions", skew.check_versions),
    Check("clocks", skew.check_clocks, lambda facts: _is_listed(facts) or _router_answers(facts)),
    Check("what could not be seen", _check_uncollected, lambda facts: bool(facts.uncollected)),
)


def findings(facts: Facts) -> list[Finding]:
    """Return all findings. If systemd runs the site, commands of systemctl replace `svc up` and `svc down` in them."""
    results = [finding for check in CHECKS for finding in check.find(facts)]
    unit = facts.unit
    if unit is None:
        return results
    return [
        dataclasses.replace(f, first_step=unit.with_commands(f.first_step), fix=unit.with_commands(f.fix))
        for f in results
    ]


def healthy_subjects(facts: Facts) -> list[str]:
    """Return the subjects of the checks that apply and have no finding."""
    return [check.subject for check in CHECKS if check.applies(facts) and not any(check.find(facts))]
