"""config/ and conf.d/: right, up to date, and what runs."""

from collections.abc import Iterator, Sequence

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding

SHOWN = 5
GENTLE = "`svc plan` shows what it restarts, `svc apply` does it without failing a request; at once"


def check(facts: Facts) -> Iterator[Finding]:
    files = facts.files
    if not files.present:
        yield Finding(
            "files.none",
            PROBLEM,
            "this directory is no site",
            "it has neither config/*.toml nor conf.d/*.conf",
            first="change to the site's directory",
            fix="svc doctor",
        )
    for number, problem in enumerate(files.wrong):
        yield Finding(
            f"files.wrong.{number}",
            PROBLEM,
            problem,
            "svc check refuses the site's files: nothing new can be started",
            first="correct it",
            fix="svc up",
        )
    if files.stale:
        yield Finding(
            "files.stale",
            WARNING,
            "conf.d/ is not what config/ says: what runs is older",
            _some(files.stale),
            first=GENTLE,
            fix="svc up",
            because=("files.wrong.*", "supervisord.down"),
        )
    pending = [*facts.pending, *_unread(facts)]
    if pending:
        yield Finding(
            "files.pending",
            WARNING,
            f"what runs is not what {'var/conf.d/' if files.own else 'conf.d/'} says",
            _some(pending),
            first=GENTLE,
            fix="svc up",
            because=("files.wrong.*", "supervisord.*"),
        )
    if files.own:
        yield Finding(
            "files.own",
            WARNING,
            "supervisord runs from var/supervisord.conf: conf.d/ is not what runs",
            "svc up was called with variables in the environment, or for single components",
            first="write what the variables say into config/svc.toml",
            fix="svc down && svc up",
        )


def _unread(facts: Facts) -> Iterator[str]:
    """Instances whose babysitter has read another TOML than there is now."""
    for component in facts.instances:
        sidecar = facts.sidecars.get(component.name)
        loaded = sidecar.info.get("config") if sidecar else None
        if loaded and component.name in facts.digests and loaded != facts.digests[component.name]:
            yield f"{component.name}: its babysitter has not read {component.source.removeprefix('../')} as it is now"


def _some(lines: Sequence[str]) -> str:
    told = list(lines)
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return "; ".join(told[:SHOWN]) + more
