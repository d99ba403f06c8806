"""API keys of clients: which key a request carries, and what this key may do.

The router stores the SHA-256 of each secret, never the secret. A secret that a client sends is hashed, looked up and
dropped; no message and no log line shows it.
"""

import datetime
import fnmatch
import re
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from svc.base.errors import Unauthorized
from svc.base.secret_file import SecretFile
from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from svc.router.balance.account import Account
from svc.router.http.credentials import key_digests
from svc.router.proxy.key_limits import KeyLimits
from svc.router.proxy.token_bucket import Cells, RateLimit

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
EXPIRED_KEY = "This API key expired on {}. Ask the operator of this router for another."


class ApiKey(KeyLimits):
    """One API key: its limits, which models it may use, and what else it may do.

    With an operator's key, a request may use any path. With the key of a front, it may name a user.
    """

    __slots__ = ("_cells", "_entry", "_pattern", "expires", "front", "is_plain", "limits_version", "name", "operator")

    def __init__(self, name: str) -> None:
        super().__init__(Account(name, name))
        self.name = name
        self.operator = self.front = False
        self.limits_version = 0  # a number that changes with the limits; the same in all processes
        self.is_plain = True  # whether its requests name no users, and may use all models
        self.expires: datetime.datetime | None = None
        self._entry: KeyEntry | None = None
        self._pattern: re.Pattern[str] | None = None  # matches the models that the key may use; None: all models
        self._cells: dict[RateLimit, Cells] = {}

    def __repr__(self) -> str:
        return f"<Key {self.name}>"

    def use(self, entry: KeyEntry) -> None:
        """Use what the file of keys contains for this key. What was counted before stays counted."""
        if entry == self._entry:
            return
        self._entry = entry
        self.account = Account(self.name, self.name, share=entry.share, priority=entry.priority)
        self.operator, self.front, self.expires = entry.operator, entry.front, entry.expires
        self._pattern = model_pattern(entry.models) if entry.models else None
        self.is_plain = not entry.front and not entry.models
        limits = (entry.requests_per_minute, entry.concurrency, entry.tokens_per_minute, entry.tokens_per_day)
        self.limits_version = 1 + zlib.crc32(repr(limits).encode())
        self.set_limits(*limits)

    def cells(self, kind: RateLimit) -> Cells:
        return self._cells.setdefault(kind, [0.0, 0.0])

    @property
    def restricts_models(self) -> bool:
        return self._pattern is not None

    def allows(self, model: str) -> bool:
        """Return whether the key may use a model. `model`: its name or alias, as the client sends it."""
        return self._pattern is None or self._pattern.fullmatch(model) is not None

    def check_expiry(self, now: float) -> None:
        """Raise Unauthorized if the key has expired. `now`: seconds since the epoch."""
        if self.expires is not None and now >= self.expires.timestamp():
            raise Unauthorized(EXPIRED_KEY.format(f"{self.expires:%Y-%m-%d at %H:%M:%S} UTC"), code=INVALID_KEY_CODE)


def model_pattern(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return the regular expression that matches names of models as these patterns do; `*` stands for any text."""
    literal = (pattern.replace("[", "[[]").replace("?", "[?]") for pattern in patterns)
    return re.compile("|".join(map(fnmatch.translate, literal)))


class ApiKeys:
    """The API keys in a file. `refresh` reads the file again after a change. Before `load` every request is refused."""

    def __init__(self, path: Path, make_key: Callable[[str], ApiKey] = ApiKey) -> None:
        self._file: SecretFile[dict[str, KeyEntry]] = SecretFile(
            path, router_keys.parse, "keys_file", {}, missing_cure=router_keys.CREATE_HINT
        )
        self._make_key = make_key
        self.on_replaced: Callable[[], object] = lambda: None
        self.entries: dict[str, KeyEntry] = {}  # the content of the file
        self._by_digest: dict[bytes, ApiKey] = {}
        self._keys: dict[str, ApiKey] = {}  # by name; a removed key stays while it has requests in flight

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
        """Return the key whose SHA-256 is among the digests; raise Unauthorized if there is none, or it has expired."""
        for digest in digests:
            # A client cannot choose the bytes of a SHA-256, so the time that the lookup takes reveals no secret.
            key = self._by_digest.get(digest)
            if key is not None:
                if key.expires is not None:
                    key.check_expiry(time.time())
                return key
        raise Unauthorized(WRONG_KEY if digests else NO_KEY, code=INVALID_KEY_CODE)

    def named(self, name: str) -> ApiKey | None:
        """Return the key of this name; None if there is none."""
        return self._keys.get(name)

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

    def replace(self, entries: dict[str, KeyEntry]) -> None:
        """Use these entries of the file from now on. A key that is still listed keeps its counts of requests."""
        self.entries = entries
        busy = {name: key for name, key in self._keys.items() if key.in_flight}
        listed = {name: self._keys.get(name) or self._make_key(name) for name in entries}
        for name, entry in entries.items():
            listed[name].use(entry)
        self._keys = busy | listed
        self._by_digest = {bytes.fromhex(entries[name].sha256): key for name, key in listed.items()}
        self.on_replaced()
