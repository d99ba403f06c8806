"""Checks for programs that do not run the installed code, and for clocks that differ from this machine's."""

import shlex
from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.http_result import HttpResult

MAX_CLOCK_SKEW_SECONDS = 2.0


def check_versions(facts: Facts) -> Iterator[Finding]:
    if facts.package_problems:
        yield Finding(
            "version.packages",
            PROBLEM,
            "packages that svc needs are missing or too old",
            "; ".join(package.problem for package in facts.package_problems),
            fix=f"{facts.pip} install {shlex.join(package.requirement for package in facts.package_problems)}",
        )
    other, version = _other_code(facts)
    if other:
        restart_all = "supervisord" in other
        names = " ".join(other)
        yield Finding(
            "version.old",
            WARNING,
            f"what runs is not the svc that is installed here: {', '.join(other)}",
            f"{version} runs, {facts.svc_version} is installed: an upgrade without a restart",
            fix="svc down && svc up" if restart_all else f"supervisorctl restart {names}",
            causes=("supervisord.foreign",),
        )
    for registry in facts.registries:
        code = registry.health.version
        if not registry.is_local and code and _release(code) != _release(facts.svc_version):
            yield Finding(
                f"version.{registry.url}",
                WARNING,
                f"the registry at {registry.url} is svc {_release(code)}, here it is {_release(facts.svc_version)}",
                "one of the two machines was not upgraded",
                first_step="upgrade it as docs/DISTRIBUTED_DEPLOYMENT_README.md describes (A new version), then",
                fix="svc doctor",
            )


def _other_code(facts: Facts) -> tuple[list[str], str]:
    """Return the local programs that do not run the installed code, and the version that the first of them runs."""
    running = {"supervisord": facts.supervisord.svc_version}
    for registry in facts.registries:
        if registry.is_local:
            running["registry"] = registry.health.version
    if facts.router and facts.router.is_local:
        running["router"] = facts.router.health.version
    running |= {
        component.programs[1]: facts.instance_probes[component.name].health.version
        for component in facts.instances
        if component.name in facts.instance_probes
    }
    other = {name: code for name, code in running.items() if code and facts.svc_version and code != facts.svc_version}
    return list(other), next(iter(other.values()), "")


def _release(code: str) -> str:
    return code.partition("+")[0]


def check_clocks(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each clock that differs so much that heartbeats seem too old or in the future."""
    responses: list[tuple[str, HttpResult]] = []
    responses += [(f"the registry at {registry.url}", registry.health) for registry in facts.registries]
    if facts.router:
        responses.append((f"the router at {facts.router.url}", facts.router.health))
    responses += [(f"the babysitter of {name}", probe.health) for name, probe in facts.instance_probes.items()]
    for server, response in responses:
        if response.clock_ahead is not None and abs(response.clock_ahead) > MAX_CLOCK_SKEW_SECONDS:
            direction = "ahead of" if response.clock_ahead > 0 else "behind"
            yield Finding(
                f"clock.{response.url}",
                WARNING,
                f"the clock of {server} is {abs(response.clock_ahead):.0f} s {direction} this machine's",
                "times in logs and lists do not agree",
                first_step="synchronize the clocks of both machines (`timedatectl set-ntp true`); compare",
                fix="date --utc",
            )
