"""Processes of this site that outlived the supervisord that started them."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, Finding

WIDTH = 60


def check(facts: Facts) -> Iterator[Finding]:
    if not facts.leftovers or facts.supervisor.trouble or facts.supervisor.lost:
        return
    pids = [str(one.pid) for one in facts.leftovers]
    told = "; ".join(f"{one.command[:WIDTH]} (pid {one.pid})" for one in facts.leftovers[:3])
    gone = facts.supervisor.pid is None
    yield Finding(
        "leftovers",
        PROBLEM,
        f"{len(pids)} process{'es' if len(pids) > 1 else ''} of an earlier supervisord still run",
        f"{told}: they may hold ports and GPUs",
        fix="svc down && svc up" if gone else f"kill -9 {' '.join(pids)}",
    )
