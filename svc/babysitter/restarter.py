"""What is done about an instance that lives and is of no use: a restart through supervisord, with the reason."""

import logging
from collections import Counter
from collections.abc import Callable

from svc.babysitter.instance_watch import Sighting
from svc.base.errors import SvcError

log = logging.getLogger(__name__)
KINDS = ("hung", "startup", "memory")


class Remedy:
    """`end` ends the process of a pid as if it had crashed; None where nothing supervises the instance."""

    def __init__(self, name: str, end: Callable[[int, str], bool] | None) -> None:
        self.name = name
        self.end = end
        self.counts: Counter[str] = Counter()  # restarts that were asked for, by kind
        self._said = ""

    def restart(self, sighting: Sighting, kind: str, why: str) -> None:
        """Asked again and again, it is done once; a supervisord that does not listen is asked anew."""
        reason = f"{kind}: {why}"
        if self.end is None:
            return self._say(f"{sighting.since} {kind}", reason + "; nothing supervises it here: restart it yourself")
        if self._said == f"{sighting.pid} ended":
            return None
        try:
            ended = self.end(sighting.pid, reason)
        except SvcError as error:
            return self._say(f"{sighting.pid} {error.message}", f"{reason}; cannot restart it: {error.message}")
        if ended:
            self.counts[kind] += 1
            self._say(f"{sighting.pid} ended", f"restarting it: {reason}")
        return None

    def _say(self, mark: str, message: str) -> None:
        if mark != self._said:
            log.warning("%s: %s", self.name, message)
        self._said = mark
