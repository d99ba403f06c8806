"""Formats a diagnosis as lines of text, or as one JSON object. Pure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from svc.doctor.findings import PROBLEM, WARNING, Finding, Node

LABEL_WIDTH = 9
STYLES = {PROBLEM: "red", WARNING: "yellow"}
PROGRAM = re.compile(r"(^|&& |; |sudo -u \S+ )(svc|supervisorctl) ")
PROGRAM_IN_TEXT = re.compile(r"(`)(svc|supervisorctl) ")
MAX_CONSEQUENCES_SHOWN = 6  # shown below each cause; the others are only counted


def command_text(fix: str, svc: str, supervisorctl: str) -> str:
    """Return a command in which `svc` and `supervisorctl` are replaced by the given commands."""
    return _with_programs(PROGRAM, fix, svc, supervisorctl)


def hint_text(text: str, svc: str, supervisorctl: str) -> str:
    """Return a text in which `svc` and `supervisorctl` between backticks are replaced by the given commands."""
    return _with_programs(PROGRAM_IN_TEXT, text, svc, supervisorctl)


def _with_programs(pattern: re.Pattern[str], text: str, svc: str, supervisorctl: str) -> str:
    return pattern.sub(lambda match: f"{match[1]}{svc if match[2] == 'svc' else supervisorctl} ", text)


def lines(
    nodes: Sequence[Node], healthy: Sequence[str], svc: str = "svc", ctl: str = "supervisorctl"
) -> Iterator[Text]:
    """Yield the lines of a diagnosis. The finding to cure first is at the top."""
    for node in nodes:
        yield from _cause_lines(node, svc, ctl)
    if healthy:
        text = Text()
        text.append(f"{'ok':{LABEL_WIDTH}}", style="green")
        text.append(", ".join(healthy))
        yield text


def _cause_lines(node: Node, svc: str, ctl: str) -> Iterator[Text]:
    finding = node.finding
    yield _title(finding)
    yield _row("why", hint_text(finding.evidence, svc, ctl))
    if finding.fix or finding.first_step:
        first_step = hint_text(finding.first_step, svc, ctl)
        if first_step and finding.fix:
            first_step = f"{first_step.rstrip(',;')}: "
        label = "fix"
        for line in (first_step + command_text(finding.fix, svc, ctl)).splitlines():
            yield _row(label, line)
            label = ""
    below = [finding for child in node.consequences for finding in child.all()]
    for number, consequence in enumerate(below):
        if number == MAX_CONSEQUENCES_SHOWN:
            yield _row("", f"and {len(below) - MAX_CONSEQUENCES_SHOWN} more things that come of it")
            break
        text = Text(" " * LABEL_WIDTH + "└ ", style="dim")
        text.append(f"{consequence.severity}: ", style=STYLES[consequence.severity])
        text.append(consequence.summary)
        yield text


def _title(finding: Finding) -> Text:
    text = Text()
    text.append(f"{finding.severity:{LABEL_WIDTH}}", style=STYLES[finding.severity])
    text.append(finding.summary, style="bold")
    return text


def _row(label: str, content: str) -> Text:
    text = Text(" " * LABEL_WIDTH)
    text.append(f"{label}  " if label else "", style="dim")
    text.append(content)
    return text


def summary(nodes: Sequence[Node]) -> str:
    findings = [finding for node in nodes for finding in node.all()]
    problems = sum(finding.severity == PROBLEM for finding in findings)
    warnings = len(findings) - problems
    if not findings:
        return "all is well"
    counts = [f"{n} {noun}{'s' if n != 1 else ''}" for n, noun in ((problems, "problem"), (warnings, "warning")) if n]
    roots = "" if len(nodes) == len(findings) else f", from {len(nodes)} cause{'s' if len(nodes) > 1 else ''}"
    return ", ".join(counts) + roots + ("; begin at the top" if len(nodes) > 1 else "")


def as_json(
    nodes: Sequence[Node], healthy: Sequence[str], svc: str = "svc", ctl: str = "supervisorctl"
) -> dict[str, Any]:
    findings = [finding for node in nodes for finding in node.all()]
    problems = sum(finding.severity == PROBLEM for finding in findings)
    return {
        "ok": not problems,
        "problems": problems,
        "warnings": len(findings) - problems,
        "findings": [_node_json(node, svc, ctl) for node in nodes],
        "well": list(healthy),
    }


def _node_json(node: Node, svc: str, ctl: str) -> dict[str, Any]:
    finding = node.finding
    return {
        "key": finding.key,
        "severity": finding.severity,
        "what": finding.summary,
        "why": hint_text(finding.evidence, svc, ctl),
        "first": hint_text(finding.first_step, svc, ctl),
        "fix": command_text(finding.fix, svc, ctl),
        "consequences": [_node_json(child, svc, ctl) for child in node.consequences],
    }
