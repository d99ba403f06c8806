"""What is wrong, each with its evidence and its cure; and which of them explains which. Pure."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

PROBLEM, WARNING = "problem", "warning"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    `key` names it to others; `because` are keys that explain it, the likeliest
    first ("registry.*" stands for all that begin so). `fix` is a command line,
    `first` what a person has to do before it, where it takes one.
    """

    key: str
    severity: str
    what: str
    why: str
    fix: str = ""
    first: str = ""
    because: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A finding, and those that come of it."""

    finding: Finding
    consequences: tuple["Node", ...] = ()

    def all(self) -> Iterator[Finding]:
        """It, and everything under it."""
        yield self.finding
        for node in self.consequences:
            yield from node.all()

    @property
    def severity(self) -> str:
        return PROBLEM if any(found.severity == PROBLEM for found in self.all()) else WARNING


def ordered(findings: Iterable[Finding]) -> list[Node]:
    """The roots, those with a problem first, otherwise as they came; each with its consequences below it."""
    found = list({finding.key: finding for finding in reversed(list(findings))}.values())[::-1]
    parents: dict[str, str] = {}
    for finding in found:
        for cause in _causes(finding, found):
            if finding.key not in _line(cause, parents):
                parents[finding.key] = cause
                break

    def node(finding: Finding) -> Node:
        return Node(finding, tuple(node(one) for one in found if parents.get(one.key) == finding.key))

    roots = [node(finding) for finding in found if finding.key not in parents]
    return sorted(roots, key=lambda root: root.severity != PROBLEM)


def _causes(finding: Finding, found: Sequence[Finding]) -> Iterator[str]:
    for told in finding.because:
        for other in found:
            if other.key != finding.key and (other.key == told or fnmatchcase(other.key, told)):
                yield other.key


def _line(key: str, parents: dict[str, str]) -> Iterator[str]:
    """A key and all that it comes of."""
    while key:
        yield key
        key = parents.get(key, "")
