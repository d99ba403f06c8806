"""The events about answers that instances have broken off: few events, even if there are many such answers."""

from collections import Counter, defaultdict
from collections.abc import Callable

from svc.router.resume.eligibility import REASONS
from svc.router.telemetry.event_reporter import EventReporter

COLLECT_SECONDS = 1.0  # the answers of one instance within this time are collected into one event
MAX_NAMES = 5  # limit for the names of instances in one event


class ResumptionEvents:
    """Counts the answers that instances have broken off, continued or not, for one event about each instance."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = 0.0  # when the collected events are to be reported; 0: there are none
        self._resumed: defaultdict[str, Counter[str]] = defaultdict(
            Counter
        )  # instance -> instance that continues -> number of answers
        self._failed: defaultdict[str, Counter[str]] = defaultdict(Counter)  # instance -> reason -> number of answers

    def resumed(self, instance: str, other: str) -> None:
        """Record that `other` continues an answer that `instance` has begun (empty: the router has ended it itself)."""
        self._add(self._resumed, instance, other)

    def failed(self, instance: str, reason: str) -> None:
        """Record that no instance continues an answer that `instance` has begun."""
        self._add(self._failed, instance, reason)

    def _add(self, counts: defaultdict[str, Counter[str]], instance: str, name: str) -> None:
        counts[instance][name] += 1
        self._due = self._due or self._clock() + COLLECT_SECONDS

    def flush(self, reporter: EventReporter) -> None:
        """Report the collected events, if it is time."""
        if not self._due or self._clock() < self._due:
            return
        self._due = 0.0
        for instance, others in self._resumed.items():
            names = [name for name, _ in others.most_common(MAX_NAMES) if name]
            where = f" at {', '.join(names)}" if names else ": only its end was missing"
            reporter.add("resumed", instance, f"{_answers(others.total())} that it had begun went on{where}")
        for instance, reasons in self._failed.items():
            causes = "; ".join(f"{REASONS[reason]} ({count})" for reason, count in reasons.most_common(MAX_NAMES))
            message = f"{_answers(reasons.total())} that it had begun could not be continued: {causes}"
            reporter.add("resume-failed", instance, message)
        self._resumed.clear()
        self._failed.clear()


def _answers(number: int) -> str:
    return "an answer" if number == 1 else f"{number} answers"
