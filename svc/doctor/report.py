"""A diagnosis as lines of text, and as one JSON object. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from svc.doctor.findings import PROBLEM, WARNING, Finding, Node

WIDTH = 9  # of the first word
STYLES = {PROBLEM: "red", WARNING: "yellow"}
START = re.compile(r"(^|&& |; |sudo -u \S+ )(svc|supervisorctl) ")
DEEP = 6  # consequences of one cause that are told one by one


def spelt(fix: str, svc: str, supervisorctl: str) -> str:
    """A command with its programs as they are called from here."""
    return START.sub(lambda found: f"{found[1]}{svc if found[2] == 'svc' else supervisorctl} ", fix)


def lines(nodes: Sequence[Node], well: Sequence[str], svc: str = "svc", ctl: str = "supervisorctl") -> Iterator[Text]:
    """The first is what to do first."""
    for node in nodes:
        yield from _cause(node, svc, ctl)
    if well:
        text = Text()
        text.append(f"{'ok':{WIDTH}}", style="green")
        text.append(", ".join(well))
        yield text


def _cause(node: Node, svc: str, ctl: str) -> Iterator[Text]:
    finding = node.finding
    yield _headed(finding)
    yield _row("why", finding.why)
    if finding.fix or finding.first:
        told = f"{finding.first.rstrip(',;')}: " if finding.first and finding.fix else finding.first
        yield _row("fix", told + spelt(finding.fix, svc, ctl))
    below = [found for child in node.consequences for found in child.all()]
    for number, found in enumerate(below):
        if number == DEEP:
            yield _row("", f"and {len(below) - DEEP} more things that come of it")
            break
        text = Text(" " * WIDTH + "└ ", style="dim")
        text.append(f"{found.severity}: ", style=STYLES[found.severity])
        text.append(found.what)
        yield text


def _headed(finding: Finding) -> Text:
    text = Text()
    text.append(f"{finding.severity:{WIDTH}}", style=STYLES[finding.severity])
    text.append(finding.what, style="bold")
    return text


def _row(word: str, told: str) -> Text:
    text = Text(" " * WIDTH)
    text.append(f"{word}  " if word else "", style="dim")
    text.append(told)
    return text


def summary(nodes: Sequence[Node]) -> str:
    found = [finding for node in nodes for finding in node.all()]
    problems = sum(finding.severity == PROBLEM for finding in found)
    warnings = len(found) - problems
    if not found:
        return "all is well"
    counts = [f"{n} {word}{'s' if n != 1 else ''}" for n, word in ((problems, "problem"), (warnings, "warning")) if n]
    roots = "" if len(nodes) == len(found) else f", from {len(nodes)} cause{'s' if len(nodes) > 1 else ''}"
    return ", ".join(counts) + roots + ("; begin at the top" if len(nodes) > 1 else "")


def as_json(nodes: Sequence[Node], well: Sequence[str], svc: str = "svc", ctl: str = "supervisorctl") -> dict[str, Any]:
    found = [finding for node in nodes for finding in node.all()]
    problems = sum(finding.severity == PROBLEM for finding in found)
    return {
        "ok": not problems,
        "problems": problems,
        "warnings": len(found) - problems,
        "findings": [_json(node, svc, ctl) for node in nodes],
        "well": list(well),
    }


def _json(node: Node, svc: str, ctl: str) -> dict[str, Any]:
    finding = node.finding
    return {
        "key": finding.key,
        "severity": finding.severity,
        "what": finding.what,
        "why": finding.why,
        "first": finding.first,
        "fix": spelt(finding.fix, svc, ctl),
        "consequences": [_json(child, svc, ctl) for child in node.consequences],
    }
