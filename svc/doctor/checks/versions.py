"""Whether what runs is what is installed."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding


def check(facts: Facts) -> Iterator[Finding]:
    if facts.dependencies:
        yield Finding(
            "version.packages",
            PROBLEM,
            "packages that svc needs are missing or too old",
            "; ".join(facts.dependencies),
            fix="python3 -m pip install --upgrade infinilm-svc",
        )
    other, told = _others(facts)
    if other:
        supervisor = "supervisord" in other
        names = " ".join(other)
        yield Finding(
            "version.old",
            WARNING,
            f"what runs is not the svc that is installed here: {', '.join(other)}",
            f"{told} runs, {facts.code} is installed: an upgrade without a restart",
            fix="svc down && svc up" if supervisor else f"supervisorctl restart {names}",
            because=("supervisord.foreign",),
        )
    for registry in facts.registries:
        version = registry.health.version
        if not registry.here and version and _number(version) != _number(facts.code):
            yield Finding(
                f"version.{registry.url}",
                WARNING,
                f"the registry at {registry.url} is svc {_number(version)}, here it is {_number(facts.code)}",
                "one of the two machines was not upgraded",
                fix="python3 -m pip install --upgrade infinilm-svc && svc down && svc up",
            )


def _others(facts: Facts) -> tuple[list[str], str]:
    """The programs here that are made of other code than is installed, and the code of one."""
    running = {"supervisord": facts.supervisor.code}
    for registry in facts.registries:
        if registry.here:
            running["registry"] = registry.health.version
    if facts.router and facts.router.here:
        running["router"] = facts.router.health.version
    running |= {
        component.programs[1]: facts.sidecars[component.name].health.version
        for component in facts.instances
        if component.name in facts.sidecars
    }
    found = {name: code for name, code in running.items() if code and facts.code and code != facts.code}
    return list(found), next(iter(found.values()), "")


def _number(code: str) -> str:
    return code.partition("+")[0]
