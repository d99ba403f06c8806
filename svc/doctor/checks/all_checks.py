"""Runs all checks in the order in which findings are reported: likely root causes first."""

import dataclasses
from collections.abc import Callable, Iterator

from svc.doctor.checks import (
    adapters,
    babysitters,
    configuration,
    disks_and_files,
    failed_requests,
    gpus,
    instances,
    listeners,
    models,
    network,
    on_demand,
    program_states,
    registries,
    routing,
    secrets,
    skew,
    supervisord,
    usage,
)
from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding

START_AGAIN = "svc down && svc up"


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """A check of one subject.

    `applies` returns False if facts are missing, so that the subject is not called healthy.
    """

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
    Check("disks, open files", disks_and_files.check),
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
    Check("usage", usage.check, _router_answers),
    Check("models", models.check, _router_lists_instances),
    Check("LoRA adapters", adapters.check, lambda facts: bool(adapters.loaded_adapters(facts))),
    Check("on demand", on_demand.check, lambda facts: any(c.on_demand for c in facts.instances)),
    Check("GPUs", gpus.check, lambda facts: bool(facts.gpus.indices or facts.gpus.problem)),
    Check("versions", skew.check_versions),
    Check("clocks", skew.check_clocks, lambda facts: _is_listed(facts) or _router_answers(facts)),
    Check("what could not be seen", _check_uncollected, lambda facts: bool(facts.uncollected)),
)


def findings(facts: Facts) -> list[Finding]:
    """Return all findings, with cures that suit what runs the site.

    If systemd runs it, commands of systemctl replace `svc up` and `svc down`. In a container, `svc down` would end the
    container, so the cure is to restart it from outside.
    """
    results = [finding for check in CHECKS for finding in check.find(facts)]
    unit = facts.unit
    if unit is not None:
        return [
            dataclasses.replace(f, first_step=unit.with_commands(f.first_step), fix=unit.with_commands(f.fix))
            for f in results
        ]
    return [_cured_from_outside(finding) for finding in results] if facts.files.in_foreground else results


def _cured_from_outside(finding: Finding) -> Finding:
    if START_AGAIN not in finding.fix:
        return finding
    first_step = "; ".join(filter(None, [finding.first_step.rstrip(",;"), "on the container's host"]))
    return dataclasses.replace(finding, first_step=first_step, fix="docker restart CONTAINER")


def healthy_subjects(facts: Facts) -> list[str]:
    """Return the subjects of the checks that apply and have no finding."""
    return [check.subject for check in CHECKS if check.applies(facts) and not any(check.find(facts))]
