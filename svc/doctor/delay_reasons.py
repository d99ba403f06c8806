"""The doctor's findings about components that are not ready yet, for commands that wait for these components."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from svc.config.site import Site
from svc.doctor import diagnosis
from svc.doctor.checks import all_checks
from svc.doctor.collect.collector import collect
from svc.doctor.findings import Node, ordered
from svc.protocol.instance_names import babysitter_program, instance_service, server_program


def delay_reasons(site: Site, environ: Mapping[str, str], names: Collection[str], svc: str, ctl: str) -> list[str]:
    """Return the lines of the doctor's findings that concern the components in `names`.

    `svc` and `ctl` are the commands with which the user can run svc and supervisorctl.
    """
    nodes = concerning(ordered(all_checks.findings(collect(site, environ))), names)
    return [line.plain for line in diagnosis.lines(nodes, (), svc, ctl)]


def concerning(nodes: Sequence[Node], names: Collection[str]) -> list[Node]:
    """Return the nodes with a finding about one of the components in `names`.

    The finding that a rollout is running is left out. So are nodes whose root cause may pass by itself (`may_pass`).
    """
    return [
        node
        for node in _without_rollout(nodes)
        if not node.finding.may_pass and any(_concerns(f.key, names) for f in node.all())
    ]


def _without_rollout(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield from node.consequences if node.finding.key == "rollout" else [node]


def _concerns(key: str, names: Collection[str]) -> bool:
    for name in names:
        subjects = (name, instance_service(name), server_program(name), babysitter_program(name))
        if key.startswith(f"{name}.") or any(key.endswith(f".{subject}") for subject in subjects):
            return True
    return False
