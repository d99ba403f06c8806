"""The line to Redis: short waits, one thread that listens and sees to it, and what to say while it is gone."""

import logging
import threading
import time
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from svc.base.errors import ConfigError, Unavailable
from svc.registry.revision_watch import Revision
from svc.registry.store import redis_address, redis_scripts
from svc.registry.store.redis_address import Address

log = logging.getLogger(__name__)
TIMEOUT = 1.0  # seconds for a connection, and for an answer
CHECK = 0.5  # seconds between two looks at whether it is well
AGAIN = 0.1  # seconds until the next try while it is gone
CONNECTIONS = 32
CHANGES, TOLD = map(redis_scripts.KEYS.index, ("changes", "told"))
BROKEN = (redis.ConnectionError, redis.TimeoutError, OSError)
PROMPT = 0.1  # seconds that an answer may take which is to tell the time


class Link:
    """While `trouble` says why Redis cannot be used, nobody waits for it but the listener, which tries again.

    An answer that does not come is asked for once more: it may have been this
    process that was busy, or the connection was an old one. That is safe, since
    a script that was done finds that there is nothing left to do.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.revision = Revision()
        self.event = Revision()  # the last event's id, which is followed in the same way
        self.trouble = ""
        self._redis = redis.Redis(connection_pool=_pool(address))
        self._keys = [f"{address.prefix}:{key}" for key in redis_scripts.KEYS]
        self._ahead: float | None = None  # of Redis's clock over our monotonic one
        self._scripts: dict[str, Any] = {}
        self._closing = threading.Event()
        self._advised: list[str] = []
        threading.Thread(target=self._listen, name="redis", daemon=True).start()

    def run(self, script: str, *args: str | bytes | int) -> Any:
        """Raises Unavailable; at once while Redis is known to be gone."""
        try:
            if self.closed or self.trouble:
                raise self.unavailable()
            with suppress(*BROKEN):
                return self._run(script, *args)
            if self.closed or self.trouble:
                raise self.unavailable()
            return self._run(script, *args)
        except (redis.RedisError, OSError) as error:
            self._fail(error)
            raise self.unavailable() from None

    def unavailable(self) -> Unavailable:
        reason = "it is closed" if self.closed else self.trouble or "it did not answer yet"
        return Unavailable(f"{self.address}: the registry cannot use its store: {reason}")

    def now(self) -> float:
        """Redis's time; until it has told that, ours."""
        return time.time() if self._ahead is None else time.monotonic() + self._ahead

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    def close(self) -> None:
        """Cuts the listener's connection too, which lets it go."""
        self._closing.set()
        self.wake()
        self._redis.connection_pool.disconnect()

    def wake(self) -> None:
        """Lets go of all who wait."""
        self.revision.wake()
        self.event.wake()

    def _run(self, script: str, *args: str | bytes | int) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        return self._scripts[script](self._keys, args)

    def _listen(self) -> None:
        while not self.closed:
            try:
                self._hear()
            except (redis.RedisError, OSError) as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - the listener outlives whatever a strange Redis says
                if not self.closed:
                    log.exception("the listener to Redis failed")
                self._fail(error)
            self._closing.wait(AGAIN)

    def _hear(self) -> None:
        """What was published while nobody listened is in the first look."""
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            channels = {self._keys[CHANGES].encode(): self.revision, self._keys[TOLD].encode(): self.event}
            channel.subscribe(*channels)
            self._check()
            self._advise()
            due = time.monotonic() + CHECK
            while not self.closed:
                if time.monotonic() >= due:
                    self._check()
                    due = time.monotonic() + CHECK
                message = channel.get_message(timeout=max(0.0, due - time.monotonic()))
                if message is not None:
                    channels[message["channel"]].reached(int(message["data"]))

    def _check(self) -> None:
        """After trouble it is well again when it takes a write: memory and disks fill up, replicas are read-only."""
        before, event, trouble, asked = self.revision.value, self.event.value, self.trouble, time.monotonic()
        try:
            told = self._run(redis_scripts.CHECK, "1" if trouble else "")
        except BROKEN:
            asked = time.monotonic()
            told = self._run(redis_scripts.CHECK, "1" if trouble else "")
        answered = time.monotonic()
        revision, seconds, micros, last = told
        if self._ahead is None or answered - asked < PROMPT:
            self._ahead = seconds + micros / 1e6 - (asked + answered) / 2
        if revision < before:
            log.warning("%s: it went from revision %d back to %d: it has lost data", self.address, before, revision)
        self.revision.found(revision, before)
        self.event.found(last, event)
        if trouble:
            self.trouble = ""
            log.info("%s: the registry's store is back", self.address)
            self.wake()  # those who wait were told of the last list before

    def _fail(self, error: Exception) -> None:
        if self.closed:
            return
        if not self.trouble:
            log.warning("%s: the registry cannot use its store: %s", self.address, _reason(error))
        self.trouble = _reason(error)

    def _advise(self) -> None:
        """What is wrong with this Redis although it works, once."""
        try:
            advice = advise(self._redis.info("persistence"), self._redis.info("memory"))
        except redis.ResponseError:  # not everyone may ask
            return
        for line in advice if advice != self._advised else ():
            log.warning("%s: %s", self.address, line)
        self._advised = advice


def advise(persistence: dict[str, Any], memory: dict[str, Any]) -> list[str]:
    """What INFO says against keeping registrations there: pure."""
    advice = []
    if not persistence.get("aof_enabled"):
        advice.append("appendonly is off, so registrations may be lost when Redis ends; set appendonly yes")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        advice.append(f"its policy {policy} throws registrations away; set maxmemory-policy noeviction")
    return advice


class _PasswordFile(redis.CredentialProvider):
    """Read at each connection, so that a new password needs no restart."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = redis_address.password(self.address.password_file)
        except ConfigError as error:
            raise redis.AuthenticationError(error.message) from None
        return (self.address.username, password) if self.address.username else (password,)


def _pool(address: Address) -> redis.BlockingConnectionPool:
    told: dict[str, Any] = {"db": address.db, "socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    if address.scheme == "unix":
        told |= {"connection_class": redis.UnixDomainSocketConnection, "path": address.path}
    else:
        told |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.scheme == "rediss":
        told |= {"connection_class": redis.SSLConnection, "ssl_check_hostname": True}
        told["ssl_ca_certs"] = address.ca or None
    if address.password_file:
        told["credential_provider"] = _PasswordFile(address)
    elif address.password:
        told |= {"username": address.username or None, "password": address.password}
    return redis.BlockingConnectionPool(
        max_connections=CONNECTIONS, timeout=TIMEOUT, protocol=2, retry=Retry(NoBackoff(), 0), **told
    )


def _reason(error: Exception) -> str:
    """In few words, where it is the network's."""
    if isinstance(error, redis.TimeoutError):
        return "it does not answer in time"
    cause = error.__cause__ or error.__context__
    if isinstance(error, redis.ConnectionError) and isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
