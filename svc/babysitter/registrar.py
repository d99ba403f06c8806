"""What the registry is told, and how it comes to be told.

It is told what is so now, never a backlog of what was: each round compares what
the registry heard last with what is true, and registers or heartbeats. So a
change cannot overtake another, and a registry that was away for an hour hears
the present.
"""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from svc.babysitter.engine_status import Models
from svc.babysitter.instance_watch import Sighting
from svc.babysitter.lifecycle import State
from svc.babysitter.model_metadata import model_metadata
from svc.base.errors import Forbidden, NotFound, SvcError, Unavailable
from svc.client.registry import RegistryClient
from svc.config.instance.model import InstanceConfig
from svc.protocol.instance_names import instance_service
from svc.protocol.service import BABYSITTER_TYPE, INSTANCE_TYPE, babysitter_url, iso

log = logging.getLogger(__name__)
FIRST_PAUSE = 0.5  # seconds until the second try; doubled each time, up to the heartbeat's interval
LEAVE_WITHIN = 3.0  # seconds that taking the registrations away may need in all


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One name of ours in the registry; `about` is what only a registration can change."""

    name: str
    status: str
    about: dict[str, Any]

    def to_json(self, now: float) -> dict[str, Any]:
        return {"name": self.name, "status": self.status, "timestamp": iso(now), **self.about}


def entries(
    config: InstanceConfig, state: State, models: Models, hostname: str, sighting: Sighting | None = None
) -> list[Entry]:
    """What the registry is to know: the babysitter always, the instance once it was looked at."""
    sidecar = babysitter_url(config.url)
    shared = {
        "host": config.host,
        "hostname": hostname,
        "lease_seconds": max(30.0, 3.0 * config.heartbeat_interval),
    }
    babysitter = {
        **shared,
        "port": config.babysitter_port,
        "url": sidecar,
        "weight": 1,
        "metadata": {"type": BABYSITTER_TYPE, "server": instance_service(config.name)},
    }
    told = [Entry(config.name, "running", babysitter)]
    if state not in (State.UNSEEN, State.GONE):
        weight = config.metadata.get("weight")
        about = {
            **config.metadata,
            "type": INSTANCE_TYPE,
            "parent_service": config.name,
            "babysitter": sidecar,
            "restarts": sighting.restarts if sighting else 0,
            "restart_reason": sighting.reason if sighting else "",
        }
        instance = {
            **shared,
            "port": config.port,
            "url": config.url,
            "weight": weight if isinstance(weight, int) and not isinstance(weight, bool) else 1,
            "metadata": {**about, **model_metadata(models, about)},
        }
        told.append(Entry(instance_service(config.name), state.status, instance))
    return told


class Registrar:
    """Keeps the registry's picture the same as ours; `wanted` says what is so now."""

    def __init__(
        self,
        client: RegistryClient,
        wanted: Callable[[], list[Entry]],
        interval: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self.wanted = wanted
        self.interval = interval
        self.clock = clock
        self.last_heartbeat: float | None = None  # when the registry last heard all of it
        self.refusal: SvcError | None = None  # why the registry did not take all of the last round; it has answered
        self._heard: dict[str, dict[str, Any]] = {}  # name -> the registration that the registry has
        self._sent: dict[str, None] = {}  # names that it may have: a registration may arrive unanswered
        self._lock = threading.Lock()  # one call at a time: nothing registers again behind `leave`
        self._left = False
        self._entries: list[Entry] = []  # of the last round
        self._failures = 0
        self._complaint = ""

    def round(self) -> None:
        """Tells all of it; what fails is logged when it begins and when it is over, and tried again in `pause`."""
        trouble: SvcError | None = None
        self._entries = self.wanted()
        for entry in self._entries:
            try:
                with self._lock:
                    self._tell(entry)
            except SvcError as error:
                trouble = error
                if isinstance(error, Unavailable):
                    break
        if self._left:
            return
        self._failures = self._failures + 1 if trouble else 0
        if trouble is None:
            self.last_heartbeat = self.clock()
        self.refusal = None if isinstance(trouble, Unavailable) else trouble
        self._complain(trouble)

    def pause(self) -> float:
        """Seconds until the next round."""
        if not self._failures:
            return self.interval
        return min(self.interval, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16))

    @property
    def outdated(self) -> bool:
        """Whether anything of ours has changed since the last round; before the first one nothing has."""
        return bool(self._entries) and not self._left and self.wanted() != self._entries

    @property
    def registered(self) -> bool:
        """Whether the registry has all of it, as far as we know."""
        return not self._left and all(entry.name in self._heard for entry in self.wanted())

    def leave(self, within: float = LEAVE_WITHIN) -> None:
        """Takes away what is registered, the instance first; nothing is told after. Waits `within` seconds at most."""
        self._left = True
        worker = threading.Thread(target=self._leave, args=(within / 2,), daemon=True)
        worker.start()
        worker.join(within)

    def _tell(self, entry: Entry) -> None:
        if self._left:
            return
        if self._heard.get(entry.name) == entry.about:
            try:
                self.client.heartbeat(entry.name, entry.status)
            except NotFound:
                log.info("the registry does not know %s any more", entry.name)
            except Forbidden:
                self._heard.pop(entry.name)
                self._sent.pop(entry.name, None)  # it has become another's
                raise
            else:
                return
        self._register(entry)

    def _register(self, entry: Entry) -> None:
        new = self._heard.pop(entry.name, None) is None
        known = entry.name in self._sent
        self._sent[entry.name] = None
        try:
            self.client.register(entry.to_json(self.clock()))
        except Unavailable:
            raise
        except SvcError:
            if not known:
                del self._sent[entry.name]  # refused: what stands there under this name is not ours
            raise
        self._heard[entry.name] = entry.about
        log.info("%s %s (%s)", "registered" if new else "renewed", entry.name, entry.status)

    def _leave(self, patience: float) -> None:
        ours = self._lock.acquire(timeout=patience)  # a call that hangs is not waited for
        try:
            for name in reversed(list(self._sent)):
                self._deregister(name)
        except Unavailable as error:
            log.warning("cannot deregister: %s; the leases will end", error.message)
        finally:
            if ours:
                self._lock.release()

    def _deregister(self, name: str) -> None:
        try:
            self.client.deregister(name)
        except NotFound:
            pass
        except Unavailable:
            raise
        except SvcError as error:
            log.warning("cannot deregister %s: %s", name, error.message)
        else:
            log.info("deregistered %s", name)

    def _complain(self, trouble: SvcError | None) -> None:
        # Why it cannot be reached may change from try to try; that it cannot is said once.
        complaint = "" if trouble is None else "away" if isinstance(trouble, Unavailable) else trouble.message
        if complaint == self._complaint:
            return
        if trouble is not None:
            log.warning("not registered, trying again: %s", trouble.message)
        else:
            log.info("the registry has everything again")
        self._complaint = complaint
