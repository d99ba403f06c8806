"""Clocks that differ: what is heard seems old, or comes from the future."""

from collections.abc import Iterator

from svc.doctor.facts import Answer, Facts
from svc.doctor.findings import WARNING, Finding

MOST = 2.0  # seconds


def check(facts: Facts) -> Iterator[Finding]:
    answers: list[tuple[str, Answer]] = [(f"the registry at {one.url}", one.health) for one in facts.registries]
    if facts.router:
        answers.append((f"the router at {facts.router.url}", facts.router.health))
    answers += [(f"the babysitter of {name}", sidecar.health) for name, sidecar in facts.sidecars.items()]
    for what, answer in answers:
        if answer.ahead is not None and abs(answer.ahead) > MOST:
            word = "ahead of" if answer.ahead > 0 else "behind"
            yield Finding(
                f"clock.{answer.url}",
                WARNING,
                f"the clock of {what} is {abs(answer.ahead):.0f} s {word} this machine's",
                "times in logs and lists do not agree",
                first="on both machines",
                fix="sudo timedatectl set-ntp true",
            )
