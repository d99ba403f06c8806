"""The connection to Redis, with short timeouts and a thread that checks Redis and subscribes to its messages."""

import logging
import threading
import time
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from svc.base.errors import ConfigError, Unavailable
from svc.registry.store import redis_address, redis_keys, redis_scripts
from svc.registry.store.redis_address import RedisAddress
from svc.registry.store.revision_watch import RevisionWatch

log = logging.getLogger(__name__)
REDIS_TIMEOUT_SECONDS = 1.0  # timeout for connecting, and for each answer
CHECK_INTERVAL_SECONDS = 0.5
RETRY_INTERVAL_SECONDS = 0.1  # pause between two checks while Redis does not answer
CLOCK_ANSWER_SECONDS = 0.1  # a slower answer does not set the clock's offset
MAX_REDIS_CONNECTIONS = 32
CONNECTION_ERRORS = (redis.ConnectionError, redis.TimeoutError, OSError)


class RedisConnection:
    """Runs scripts in Redis.

    `failure` is the reason why Redis cannot be used, or "". After a failure, only the listener's thread contacts Redis,
    until Redis can be used again. A script that got no answer is run a second time, because this process may have been
    busy or the connection stale. If Redis had run it the first time, the second run changes nothing, except that
    ADD_EVENTS adds the events twice.
    """

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        self.revision = RevisionWatch()
        self.event_id = RevisionWatch()  # watches the last event's id instead of the revision
        self.failure = ""
        self._redis = redis.Redis(connection_pool=_pool(address))
        self._keys = [f"{address.prefix}:{key}" for key in redis_keys.KEYS]
        self._clock_offset: float | None = None  # Redis's clock minus this process's monotonic clock
        self._scripts: dict[str, Script] = {}
        self._closing = threading.Event()
        self._closings = 0  # how many of the listener's connections were closed in a row, without an answer in between
        self._logged_advice: list[str] = []
        threading.Thread(target=self._listen, name="redis", daemon=True).start()

    def run(self, script: str, *args: str | bytes | int) -> Any:
        """Run a script and return its answer. Raise Unavailable if Redis fails, or at once if `failure` is set."""
        try:
            if self.closed or self.failure:
                raise self.unavailable()
            with suppress(*CONNECTION_ERRORS):
                return self._run(script, *args)
            if self.closed or self.failure:
                raise self.unavailable()
            return self._run(script, *args)
        except (redis.RedisError, OSError) as error:
            self._record_failure(error)
            raise self.unavailable() from None

    def unavailable(self) -> Unavailable:
        reason = "it is closed" if self.closed else self.failure or "it did not answer yet"
        return Unavailable(f"{self.address}: the registry cannot use its store: {reason}")

    def now(self) -> float:
        """Return Redis's time in Unix seconds, or this machine's time before Redis's first answer."""
        return time.time() if self._clock_offset is None else time.monotonic() + self._clock_offset

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    def close(self) -> None:
        """Close all connections. This also ends the listener's thread."""
        self._closing.set()
        self.wake()
        self._redis.connection_pool.disconnect()

    def wake(self) -> None:
        """End all waits for a revision or an event."""
        self.revision.wake()
        self.event_id.wake()

    def _run(self, script: str, *args: str | bytes | int) -> Any:
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        return self._scripts[script](self._keys, args)

    def _key(self, name: str) -> bytes:
        return self._keys[redis_keys.KEYS.index(name)].encode()

    def _listen(self) -> None:
        while not self.closed:
            try:
                self._follow_changes()
            except (redis.ConnectionError, OSError) as error:
                self._closings += 1
                if self._closings > 1:  # one closed connection alone does not mean that Redis fails
                    self._record_failure(error)
            except redis.RedisError as error:
                self._record_failure(error)
            except Exception as error:  # noqa: BLE001 - the thread must survive any answer of Redis
                if not self.closed:
                    log.exception("the listener to Redis failed")
                self._record_failure(error)
            self._closing.wait(RETRY_INTERVAL_SECONDS)

    def _follow_changes(self) -> None:
        """Read the current revision and event id, then receive new ones until the connection fails."""
        with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            watches = {self._key("changes"): self.revision, self._key("told"): self.event_id}
            channel.subscribe(*watches)
            self._check()
            self._closings = 0
            self._log_advice()
            next_check = time.monotonic() + CHECK_INTERVAL_SECONDS
            while not self.closed:
                if time.monotonic() >= next_check:
                    self._check()
                    next_check = time.monotonic() + CHECK_INTERVAL_SECONDS
                message = channel.get_message(timeout=max(0.0, next_check - time.monotonic()))
                if message is not None:
                    watches[message["channel"]].advance(int(message["data"]))

    def _check(self) -> None:
        """Read the revision, the last event's id and the clock.

        After a failure, try to write as well, and use Redis again only if the write succeeds: a Redis that is a
        read-only replica, or whose memory or disk is full, still answers reads.
        """
        revision_before, event_id_before, failure = self.revision.value, self.event_id.value, self.failure
        must_write = "1" if failure else ""
        started = time.monotonic()
        try:
            answer = self._run(redis_scripts.CHECK, must_write)
        except CONNECTION_ERRORS:
            started = time.monotonic()
            answer = self._run(redis_scripts.CHECK, must_write)
        ended = time.monotonic()
        revision, seconds, microseconds, event_id = answer
        if self._clock_offset is None or ended - started < CLOCK_ANSWER_SECONDS:
            self._clock_offset = seconds + microseconds / 1e6 - (started + ended) / 2
        if revision < revision_before:
            message = "%s: it went from revision %d back to %d: it has lost data"
            log.warning(message, self.address, revision_before, revision)
        self.revision.synchronize(revision, revision_before)
        self.event_id.synchronize(event_id, event_id_before)
        if failure:
            self.failure = ""
            log.info("%s: the registry's store is back", self.address)
            self.wake()  # callers that wait know only the state before the failure, so they read again

    def _record_failure(self, error: Exception) -> None:
        if self.closed:
            return
        if not self.failure:
            log.warning("%s: the registry cannot use its store: %s", self.address, _reason(error))
        self.failure = _reason(error)

    def _log_advice(self) -> None:
        """Log once which settings of this Redis should be changed."""
        try:
            advice = configuration_advice(self._redis.info("persistence"), self._redis.info("memory"))
        except redis.ResponseError:  # this user may not run INFO
            return
        for line in advice if advice != self._logged_advice else ():
            log.warning("%s: %s", self.address, line)
        self._logged_advice = advice


def configuration_advice(persistence: dict[str, Any], memory: dict[str, Any]) -> list[str]:
    """Return advice on settings that may lose registrations, from the INFO sections `persistence` and `memory`."""
    advice = []
    if not persistence.get("aof_enabled"):
        advice.append("appendonly is off, so registrations may be lost when Redis ends; set appendonly yes")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        advice.append(f"its policy {policy} throws registrations away; set maxmemory-policy noeviction")
    return advice


class _PasswordFile(redis.CredentialProvider):
    """Reads the password file for each new connection, so that a new password needs no restart."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = redis_address.read_password(self.address.password_file)
        except ConfigError as error:
            raise redis.AuthenticationError(error.message) from None
        return (self.address.username, password) if self.address.username else (password,)


def _pool(address: RedisAddress) -> redis.BlockingConnectionPool:
    options: dict[str, Any] = {"db": address.db, "timeout": REDIS_TIMEOUT_SECONDS}
    options |= {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS}
    if address.scheme == "unix":
        options |= {"connection_class": redis.UnixDomainSocketConnection, "path": address.path}
    else:
        options |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if address.scheme == "rediss":
        options |= {"connection_class": redis.SSLConnection, "ssl_check_hostname": True}
        options["ssl_ca_certs"] = address.ca or None
    if address.password_file:
        options["credential_provider"] = _PasswordFile(address)
    elif address.password:
        options |= {"username": address.username or None, "password": address.password}
    return redis.BlockingConnectionPool(
        max_connections=MAX_REDIS_CONNECTIONS, protocol=2, retry=Retry(NoBackoff(), 0), **options
    )


def _reason(error: Exception) -> str:
    """Return a short text for `error`: the operating system's message if it is a network error."""
    if isinstance(error, redis.TimeoutError):
        return "it does not answer in time"
    cause = error.__cause__ or error.__context__
    if isinstance(error, redis.ConnectionError) and isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
