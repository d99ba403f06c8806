"""API keys of clients: which key a request carries, and whether the limits of this key allow one more request.

The router stores the SHA-256 of each secret, never the secret. A secret that a client sends is hashed, looked up and
dropped; no message and no log line shows it.
"""

import hmac
import math
from collections.abc import Callable
from pathlib import Path

from svc.base.errors import RateLimited, Unauthorized
from svc.base.secret_file import SecretFile
from svc.config import router_keys
from svc.router.balance.account import Account
from svc.router.http.credentials import key_digests

INVALID_KEY_CODE = "invalid_api_key"
KEY_HEADERS_HELP = (
    "in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or in an x-api-key header"
)
NO_KEY = (
    f"You didn't provide an API key. You need to provide your API key {KEY_HEADERS_HELP}. "
    "Ask the operator of this router for one."
)
WRONG_KEY = (
    f"Incorrect API key provided. Send a key of this router {KEY_HEADERS_HELP}; "
    "where yours was revoked or lost, ask its operator for another."
)
ONE_TOKEN = 1 - 1e-9  # one token, minus the rounding error of adding fractions


def take_token(tokens: float, seconds: float, per_minute: int) -> tuple[float, float]:
    """Take one token from a token bucket that was last used `seconds` ago.

    Return the tokens that remain in the bucket, and the seconds until the next token: 0 if a token was taken. A refused
    request takes no token. A full bucket contains the tokens of one minute; it fills continuously.
    """
    tokens = min(float(per_minute), tokens + max(0.0, seconds) * per_minute / 60)
    if tokens >= ONE_TOKEN:
        return tokens - 1, 0.0
    return tokens, (1 - tokens) * 60 / per_minute


class ApiKey:
    """One API key, with its limits (None: unlimited) and its requests in flight.

    A request with an operator's key may have any path.
    """

    __slots__ = ("_since", "_tokens", "account", "concurrency", "in_flight", "name", "operator", "requests_per_minute")

    def __init__(self, name: str, requests_per_minute: int | None = None, concurrency: int | None = None) -> None:
        self.name = name
        self.account = Account(name, name)
        self.operator = False
        self.requests_per_minute = requests_per_minute
        self.concurrency = concurrency
        self.in_flight = 0
        self._tokens = math.inf  # the bucket is full at first, whatever its size
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<Key {self.name}>"

    def admit(self, now: float) -> None:
        """Count one more request, or raise RateLimited and count nothing. For a counted request, call `release` later.

        `now`: seconds of a monotonic clock.
        """
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            raise self.concurrency_error()
        if self.requests_per_minute is not None:
            self._tokens, wait = take_token(self._tokens, now - self._since, self.requests_per_minute)
            self._since = max(now, self._since)
            if wait:
                raise self.rate_error(wait)
        self.in_flight += 1

    def concurrency_error(self) -> RateLimited:
        return RateLimited(
            f"Rate limit reached for key {self.name} on concurrent requests: Limit {self.concurrency}. "
            "Please try again once one of them is done."
        )

    def rate_error(self, wait: float) -> RateLimited:
        """Return the error for a request that comes `wait` seconds before the next token."""
        return RateLimited(
            f"Rate limit reached for key {self.name} on requests per min (RPM): Limit {self.requests_per_minute}. "
            f"Please try again in {math.ceil(wait)}s.",
            wait,
        )

    def release(self) -> None:
        """Count the end of a request. Call this once for each request that was admitted."""
        assert self.in_flight > 0, f"{self!r}: released more often than admitted"
        self.in_flight -= 1


class ApiKeys:
    """The API keys in a file. `refresh` reads the file again after a change. Before `load` every request is refused."""

    def __init__(self, path: Path, make_key: Callable[[str], ApiKey] = ApiKey) -> None:
        self._file: SecretFile[dict[str, router_keys.KeyEntry]] = SecretFile(
            path, router_keys.parse, "keys_file", {}, missing_cure=router_keys.CREATE_HINT
        )
        self._make_key = make_key
        self.on_replaced: Callable[[], object] = lambda: None
        self.entries: dict[str, router_keys.KeyEntry] = {}  # what the file contains
        self._by_digest: dict[bytes, tuple[bytes, ApiKey]] = {}
        self._keys: dict[str, ApiKey] = {}  # includes removed keys with requests in flight: they may be listed again

    def __len__(self) -> int:
        return len(self._by_digest)

    def identify(self, authorization: bytes, x_api_key: bytes = b"") -> ApiKey:
        """Return the key that a request carries in one of these headers; raise Unauthorized if it carries none.

        An empty value is a missing header. If both headers contain a key of this router, the key in Authorization is
        used. If only one header contains such a key, the other header is ignored, because it may be meant for another
        server.
        """
        return self.find(key_digests(authorization, x_api_key))

    def find(self, digests: tuple[bytes, ...]) -> ApiKey:
        """Return the key whose SHA-256 is among the digests; raise Unauthorized if there is none."""
        for digest in digests:
            known, key = self._by_digest.get(digest, NO_ENTRY)
            if key is not None and hmac.compare_digest(known, digest):
                return key
        raise Unauthorized(WRONG_KEY if digests else NO_KEY, code=INVALID_KEY_CODE)

    def load(self) -> None:
        """Read the file; raise ConfigError with every problem in it."""
        self.replace(self._file.load())

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether its new content is in use.

        If the file is broken or missing, the keys stay unchanged.
        """
        if not self._file.refresh():
            return False
        self.replace(self._file.value)
        return True

    def replace(self, entries: dict[str, router_keys.KeyEntry]) -> None:
        """Adopt the limits and digests in the file. A key that is still listed keeps its counts of requests."""
        self.entries = entries
        busy = {name: key for name, key in self._keys.items() if key.in_flight}
        listed = {name: self._keys.get(name) or self._make_key(name) for name in entries}
        for name, entry in entries.items():
            key = listed[name]
            key.requests_per_minute, key.concurrency = entry.requests_per_minute, entry.concurrency
            key.operator = entry.operator
            key.account = Account(name, name, share=entry.share, priority=entry.priority)
        digests = {name: bytes.fromhex(entry.sha256) for name, entry in entries.items()}
        self._keys = busy | listed
        self._by_digest = {digests[name]: (digests[name], key) for name, key in listed.items()}
        self.on_replaced()


NO_ENTRY: tuple[bytes, None] = (b"", None)
