"""API keys: who a request is of, and whether that key may send one more.

The router never has a secret: it knows the SHA-256 of each. A secret that a
client sends is digested, looked up and forgotten; no message and no log shows it.
"""

import hmac
import math
from pathlib import Path

from svc.base.errors import RateLimited, Unauthorized
from svc.base.secret_file import SecretFile
from svc.config import keyfile
from svc.router.http.credentials import key_digests

CODE = "invalid_api_key"
HOW = "in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or in an x-api-key header"
NO_KEY = (
    f"You didn't provide an API key. You need to provide your API key {HOW}. Ask the operator of this router for one."
)
WRONG_KEY = (
    f"Incorrect API key provided. Send a key of this router {HOW}; "
    "where yours was revoked or lost, ask its operator for another."
)
ENOUGH = 1 - 1e-9  # a token, but for what adding fractions loses


def draw(tokens: float, seconds: float, per_minute: int) -> tuple[float, float]:
    """One token out of a bucket that was looked at `seconds` ago: what is left, and how long to wait for it (0: had).

    The bucket holds a minute's worth and fills continuously. Who is refused takes nothing.
    """
    tokens = min(float(per_minute), tokens + max(0.0, seconds) * per_minute / 60)
    if tokens >= ENOUGH:
        return tokens - 1, 0.0
    return tokens, (1 - tokens) * 60 / per_minute


class ApiKey:
    """One key and what it has in hand. Limits of None are no limits; an operator's may pass any path."""

    __slots__ = ("_since", "_tokens", "concurrency", "in_flight", "name", "operator", "requests_per_minute")

    def __init__(self, name: str, requests_per_minute: int | None = None, concurrency: int | None = None) -> None:
        self.name = name
        self.operator = False
        self.requests_per_minute = requests_per_minute
        self.concurrency = concurrency
        self.in_flight = 0
        self._tokens = math.inf  # a bucket is full at first, whatever its size
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<Key {self.name}>"

    def admit(self, now: float) -> None:
        """Counts one more request, which must be released; raises RateLimited and counts nothing.

        `now` in seconds, of a clock that does not go back.
        """
        limit = self.concurrency
        if limit is not None and self.in_flight >= limit:
            raise RateLimited(
                f"Rate limit reached for key {self.name} on concurrent requests: Limit {limit}. "
                "Please try again once one of them is done."
            )
        rate = self.requests_per_minute
        if rate is not None:
            self._tokens, wait = draw(self._tokens, now - self._since, rate)
            self._since = max(now, self._since)
            if wait:
                raise RateLimited(
                    f"Rate limit reached for key {self.name} on requests per min (RPM): Limit {rate}. "
                    f"Please try again in {math.ceil(wait)}s.",
                    wait,
                )
        self.in_flight += 1

    def release(self) -> None:
        """Once for each request that was admitted, however it ended."""
        assert self.in_flight > 0, f"{self!r}: released more often than admitted"
        self.in_flight -= 1


class ApiKeys:
    """The keys of a file, read again when it changes. Before `load` nobody is let in."""

    def __init__(self, path: Path) -> None:
        self._file: SecretFile[dict[str, keyfile.KeyEntry]] = SecretFile(
            path, keyfile.parse, "keys_file", {}, missing_cure=keyfile.CREATE_HINT
        )
        self._by_digest: dict[bytes, tuple[bytes, ApiKey]] = {}
        self._keys: dict[str, ApiKey] = {}  # also those that left with requests in flight: they may come back

    def __len__(self) -> int:
        return len(self._by_digest)

    def identify(self, authorization: bytes, x_api_key: bytes = b"") -> ApiKey:
        """Whose request it is, by the values of the two headers (empty: not sent); raises Unauthorized.

        Where both hold a key, Authorization's counts; where only one does, that one, as the other may be meant
        for somebody else.
        """
        return self.find(key_digests(authorization, x_api_key))

    def find(self, digests: tuple[bytes, ...]) -> ApiKey:
        """Return the key that one of these is the SHA-256 of; raises Unauthorized."""
        for digest in digests:
            known, key = self._by_digest.get(digest, NOBODY)
            if key is not None and hmac.compare_digest(known, digest):
                return key
        raise Unauthorized(WRONG_KEY if digests else NO_KEY, code=CODE)

    def load(self) -> None:
        """Read the file; raises ConfigError with every problem of it."""
        self._take(self._file.load())

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether its new content is in use.

        A file that is broken or gone leaves the keys as they were.
        """
        if not self._file.refresh():
            return False
        self._take(self._file.value)
        return True

    def _take(self, entries: dict[str, keyfile.KeyEntry]) -> None:
        """The limits and digests are the file's, the counts stay with the name."""
        busy = {name: key for name, key in self._keys.items() if key.in_flight}
        named = {name: self._keys.get(name) or ApiKey(name) for name in entries}
        for name, entry in entries.items():
            key = named[name]
            key.requests_per_minute, key.concurrency = entry.requests_per_minute, entry.concurrency
            key.operator = entry.operator
        digests = {name: bytes.fromhex(entry.sha256) for name, entry in entries.items()}
        self._keys = busy | named
        self._by_digest = {digests[name]: (digests[name], key) for name, key in named.items()}


NOBODY: tuple[bytes, None] = (b"", None)
