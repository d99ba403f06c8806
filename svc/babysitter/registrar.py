"""Keep the babysitter's registrations in the registry up to date.

Each round compares the current registrations with those that the registry last accepted. It sends each
registration that differs, and a heartbeat for each registration that is the same. It sends no backlog of earlier
states. So changes cannot arrive in the wrong order, and a registry that was unreachable for an hour receives only the
present state.
"""

import contextlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from svc.babysitter.registration import Registration
from svc.base import private_files
from svc.base.errors import Forbidden, NotFound, SvcError, Unavailable
from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)
FIRST_RETRY_SECONDS = 0.5  # pause after the first failure; doubled after each further one, up to the heartbeat interval
DEREGISTER_TIMEOUT_SECONDS = 3.0  # limit for both registrations together
UNIX_SOCKET_SCHEME = "unix://"
SECRET_PATTERN = re.compile(r"[!-~]{16,256}")  # too long to guess, and valid in a header


class Registrar:
    """Keeps the registry's registrations equal to `wanted()`: call `run_round` every `interval` seconds."""

    def __init__(
        self,
        client: RegistryClient,
        wanted: Callable[[], list[Registration]],
        interval: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self.wanted = wanted
        self.interval = interval
        self.clock = clock
        self.last_heartbeat: float | None = None  # when the registry last accepted all registrations
        self.refusal: SvcError | None = None  # why a registry refused a registration in the last round
        self._accepted: dict[str, dict[str, Any]] = {}  # name -> the fields that the registry has accepted
        self._statuses: dict[str, str] = {}  # name -> the last status that the registry has accepted
        self._sent: dict[str, None] = {}  # names of all registrations that were sent, whatever the answer
        self._lock = threading.Lock()  # held by rounds and `deregister`, so that no round registers a removed name
        self._ended = False
        self._last_round: list[Registration] = []
        self._failures = 0
        self._complaint = ""

    def run_round(self) -> None:
        """Send a registration or a heartbeat for each name; log the first failure and the recovery."""
        failure: SvcError | None = None
        self._last_round = self.wanted()
        for registration in self._last_round:
            try:
                with self._lock:
                    self._send(registration)
            except SvcError as error:
                failure = error
                if isinstance(error, Unavailable):
                    break
        if self._ended:
            return
        self._failures = self._failures + 1 if failure else 0
        if failure is None:
            self.last_heartbeat = self.clock()
        self.refusal = None if isinstance(failure, Unavailable) else failure
        self._log_change(failure)

    def pause(self) -> float:
        """Return the seconds until the next round."""
        if not self._failures:
            return self.interval
        return min(self.interval, FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 16))

    @property
    def outdated(self) -> bool:
        """Return whether a registration has changed since the last round; False before the first round."""
        return bool(self._last_round) and not self._ended and self.wanted() != self._last_round

    @property
    def registered(self) -> bool:
        """Return whether the registry has accepted all registrations."""
        return not self._ended and all(registration.name in self._accepted for registration in self.wanted())

    def accepted_status(self, name: str) -> str:
        """Return the last status of a name that the registry has accepted; "" if it has accepted none."""
        return self._statuses.get(name, "")

    def deregister(self, timeout: float = DEREGISTER_TIMEOUT_SECONDS) -> None:
        """Remove the registrations within `timeout` seconds, the instance's first; later rounds send nothing."""
        self._ended = True
        worker = threading.Thread(target=self._deregister_all, args=(timeout / 2,), daemon=True)
        worker.start()
        worker.join(timeout)

    def _send(self, registration: Registration) -> None:
        """Send a heartbeat if the registry has accepted the same fields before, else a registration."""
        if self._ended:
            return
        if self._accepted.get(registration.name) == registration.fields:
            try:
                self.client.heartbeat(registration.name, registration.status)
            except NotFound:
                log.info("the registry does not know %s any more", registration.name)
            except Forbidden:
                self._accepted.pop(registration.name)
                self._sent.pop(registration.name, None)  # `deregister` must spare it: another babysitter owns the name
                raise
            else:
                self._statuses[registration.name] = registration.status
                return
        self._register(registration)

    def _register(self, registration: Registration) -> None:
        name = registration.name
        sent_before = name in self._sent
        self._sent[name] = None
        try:
            self.client.register(registration.to_json(self.clock()))
        except SvcError as error:
            # Not before the request: until it is refused, the registry still has the earlier registration.
            self._accepted.pop(name, None)
            if not sent_before and not isinstance(error, Unavailable):
                del self._sent[name]  # `deregister` must spare it: a registration of this name is another babysitter's
            raise
        new = name not in self._accepted
        self._accepted[name] = registration.fields
        self._statuses[name] = registration.status
        log.info("%s %s (%s)", "registered" if new else "renewed", name, registration.status)

    def _deregister_all(self, lock_timeout: float) -> None:
        locked = self._lock.acquire(timeout=lock_timeout)  # limited: a round that hangs must not delay the shutdown
        try:
            for name in reversed(list(self._sent)):
                self._deregister(name)
        except Unavailable as error:
            log.warning("cannot deregister: %s; the leases will end", error.message)
        finally:
            if locked:
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

    def _log_change(self, failure: SvcError | None) -> None:
        # All errors of an unreachable registry count as the same one, because the message may differ at each attempt.
        complaint = "" if failure is None else "away" if isinstance(failure, Unavailable) else failure.message
        if complaint == self._complaint:
            return
        if failure is not None:
            log.warning("not registered, trying again: %s", failure.message)
        else:
            log.info("the registry has everything again")
        self._complaint = complaint


def state_directory(server_url: str) -> Path:
    """Return the var/ directory with the socket at supervisord's `server_url`; else the relative path var/."""
    directory = Path(server_url.removeprefix(UNIX_SOCKET_SCHEME)).parent
    return directory if server_url.startswith(UNIX_SOCKET_SCHEME) and directory.name == "var" else Path("var")


def load_or_create_secret(path: Path) -> str:
    """Return the secret that proves to a registry that this babysitter owns its names; create the file if needed.

    If the file cannot be written, the secret lasts only as long as this process.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            private_files.tighten(path, private_files.OWNER_ONLY)
            secret = path.read_text(encoding="ascii", errors="replace").strip()
            if SECRET_PATTERN.fullmatch(secret):
                return secret
        secret = secrets.token_urlsafe(32)
        private_files.make_directory(path.parent)
        private_files.write(path, f"{secret}\n".encode(), private_files.OWNER_ONLY)
    except OSError as error:
        log.warning(
            "%s: cannot keep the secret: %s; after a crash the registry refuses this babysitter's "
            "names until their leases end; make %s writable",
            path,
            error.strerror,
            path.parent,
        )
        return secrets.token_urlsafe(32)
    return secret
