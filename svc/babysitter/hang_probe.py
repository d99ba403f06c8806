"""Asks an instance that has been quiet for one token, now and then, and has it restarted when it gives none."""

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable

from svc.babysitter import health_rules
from svc.babysitter.health_rules import NOTHING, Reading, Sign
from svc.babysitter.lifecycle import Event, State
from svc.babysitter.monitor import Babysitter, Picture
from svc.babysitter.restarter import Remedy

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Probed:
    """What the last round has shown of this life of the process."""

    sign: Sign | None = None
    why: str = ""
    at: float | None = None  # Unix seconds
    failures: int = 0  # in a row


class Prober:
    """`put` asks a model for a token, `read` tells what other requests do; a `round` is due every probe_interval."""

    def __init__(
        self,
        sitter: Babysitter,
        put: Callable[[str], tuple[Sign, str]],
        read: Callable[[], Reading],
        remedy: Remedy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sitter = sitter
        self.put = put
        self.read = read
        self.remedy = remedy
        self.clock = clock
        self.threshold = sitter.config.probe_threshold
        self.last = Probed()
        self.counts: Counter[Sign] = Counter()
        self._life: int | None = None
        self._reading = NOTHING

    def round(self) -> None:
        """Nothing is asked of a process before it has listed its models: those it may still be loading."""
        picture = self.sitter.picture
        if picture.life != self._life:
            self._life, self._reading, self.last = picture.life, NOTHING, Probed()
        if picture.state not in (State.RUNNING, State.HUNG):
            return
        sign, why = self._look(picture)
        if self.sitter.picture.life == picture.life:
            self._conclude(picture, sign, why)

    def _look(self, picture: Picture) -> tuple[Sign, str]:
        before, self._reading = self._reading, self.read()
        if health_rules.moved(before, self._reading):
            return Sign.MOVED, ""
        before = self._reading
        sign, why = self.put(picture.models[0]["id"])
        self._reading = self.read()  # what the probe itself has moved is no other traffic
        if sign is Sign.SILENT and health_rules.moved(before, self._reading):
            return Sign.BUSY, f"{why}, but other requests moved"
        return sign, why

    def _conclude(self, picture: Picture, sign: Sign, why: str) -> None:
        failures = health_rules.failures(self.last.failures, sign)
        if sign is Sign.REFUSED and self.last.sign is not sign:
            log.warning(
                '%s: a probe shows nothing here: %s; cure that, or leave out probe = "generate"',
                self.sitter.config.name,
                why,
            )
        self.last = Probed(sign, why, self.clock(), failures)
        self.counts[sign] += 1
        self.sitter.found(Event.SILENT if failures else Event.SPOKE, picture.life)
        if failures:
            log.warning("%s: probe %d of %d failed: %s", self.sitter.config.name, failures, self.threshold, why)
        if failures >= self.threshold and picture.sighting is not None:
            self.remedy.restart(picture.sighting, "hung", f"{why} ({failures} in a row)")
