"""A rollout that goes on just now, or ended in the middle."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.protocol.instance_names import server_program


def check(facts: Facts) -> Iterator[Finding]:
    told = facts.rollout
    if told is None:
        return
    names = ", ".join(dict.fromkeys([*told.ours, *told.begun]))
    if told.busy:
        yield Finding(
            "rollout",
            WARNING,
            "a rollout is at work: what is below it may be its doing",
            told.busy,
            first="wait until it is done",
            fix="svc status --watch",
        )
    else:
        yield Finding(
            "rollout",
            PROBLEM,
            f"a rollout ended in the middle, `svc {told.words}`",
            f"by var/rollout.json it holds {names}",
            first="finish it",
            fix=f"svc {told.words}",
            because=(*(f"program.{server_program(name)}" for name in told.begun),),
        )
