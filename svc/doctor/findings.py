"""The findings of the doctor, and their order, in which causes come before their consequences. Pure."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

PROBLEM, WARNING = "problem", "warning"
WAIT, WATCH = "it was just started, so wait until it is ready; see", "svc status --watch"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A problem that a check found.

    `causes` are the keys of the findings that may explain this finding, the likeliest first; "registry.*" matches every
    key that begins with "registry.". `fix` is a command line, and `first_step` is what a person has to do before it.
    `may_pass` is true if the problem may pass without a cure, because a program has just been started. The diagnosis
    then shows this finding and its consequences as warnings, with waiting as the cure.
    """

    key: str
    severity: str
    summary: str
    evidence: str
    fix: str = ""
    first_step: str = ""
    causes: Sequence[str] = ()
    may_pass: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A finding and its consequences."""

    finding: Finding
    consequences: tuple["Node", ...] = ()

    def all(self) -> Iterator[Finding]:
        """Yield the finding and all its direct and indirect consequences."""
        yield self.finding
        for node in self.consequences:
            yield from node.all()

    @property
    def severity(self) -> str:
        return PROBLEM if any(finding.severity == PROBLEM for finding in self.all()) else WARNING


def ordered(findings: Iterable[Finding]) -> list[Node]:
    """Return a tree for each root cause and its consequences. Trees that contain warnings only come last."""
    unique = list({finding.key: finding for finding in reversed(list(findings))}.values())[::-1]
    parents: dict[str, str] = {}
    for finding in unique:
        for cause in _causes(finding, unique):
            if finding.key not in _ancestry(cause, parents):
                parents[finding.key] = cause
                break

    def node(finding: Finding, may_pass: bool = False) -> Node:
        may_pass = may_pass or finding.may_pass
        consequences = tuple(node(other, may_pass) for other in unique if parents.get(other.key) == finding.key)
        return Node(_awaited(finding) if may_pass else finding, consequences)

    roots = [node(finding) for finding in unique if finding.key not in parents]
    return sorted(roots, key=lambda root: root.severity != PROBLEM)


def _awaited(finding: Finding) -> Finding:
    return dataclasses.replace(finding, severity=WARNING, first_step=WAIT, fix=WATCH)


def _causes(finding: Finding, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the keys of the other findings that may explain `finding`, the likeliest first."""
    for pattern in finding.causes:
        for other in findings:
            if other.key != finding.key and (other.key == pattern or fnmatchcase(other.key, pattern)):
                yield other.key


def _ancestry(key: str, parents: dict[str, str]) -> Iterator[str]:
    """Yield a key, the key of its cause, and so on to the root cause."""
    while key:
        yield key
        key = parents.get(key, "")
