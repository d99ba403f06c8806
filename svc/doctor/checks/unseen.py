"""What could not be looked at: not known to be wrong, and not known to be right."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding


def check(facts: Facts) -> Iterator[Finding]:
    for one in facts.unseen:
        yield Finding(f"unseen.{one.subject}", WARNING, f"{one.subject}: could not be looked at", one.why)
