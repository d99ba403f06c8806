"""Where a Redis is, as `--store redis://...` says it. Does without the redis package."""

import dataclasses
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from svc.base.address import authority
from svc.base.errors import ConfigError

SCHEMES = ("redis", "rediss", "unix")
PORT = 6379
PREFIX = re.compile(r"[A-Za-z0-9_.:{}-]{1,64}")
SHAPES = "redis://HOST:PORT/DB?prefix=svc, rediss://HOST:PORT/DB (TLS; &ca=FILE) or unix:///PATH?db=0"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A Redis, who we are there, and the prefix of our keys. As text it has no secret."""

    scheme: str
    host: str = ""
    port: int = PORT
    path: str = ""  # of a unix socket
    db: int = 0
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    password_file: str = ""
    ca: str = ""  # file of the certificates that rediss:// trusts, instead of the system's
    prefix: str = "svc"

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{authority(self.host, self.port)}/{self.db}"


def is_redis(url: str) -> bool:
    return url.partition(":")[0] in SCHEMES


def parse(url: str, password_file: str = "") -> Address:
    """Raises ConfigError, which does not show the password either."""
    try:
        parts = urlsplit(url)
        place = _place(parts)
        told = _options(parts)
        db = told.pop("db", "0") if parts.scheme == "unix" else parts.path.strip("/") or "0"
        if not db.isdecimal():
            raise _Wrong("the database must be a whole number")
        if password_file and parts.password:
            raise _Wrong("it has a password, and there is a password file too; give one of them")
        if parts.username and not (parts.password or password_file):
            raise _Wrong("it names a user but no password; write :PASSWORD before the @")
        address = Address(
            scheme=parts.scheme,
            db=int(db),
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            password_file=password_file,
            ca=told.get("ca", ""),
            prefix=told.get("prefix", "svc"),
        )
        return dataclasses.replace(address, **place)
    except _Wrong as wrong:
        raise ConfigError(f"store: cannot use {masked(url)!r}: {wrong}; give {SHAPES}") from None
    except ValueError:  # its words may hold a piece of a password
        raise ConfigError(
            f"store: cannot use {masked(url)!r}: it is no URL; give {SHAPES}, with %2F for a / in a password"
        ) from None


def masked(url: str) -> str:
    return re.sub(r"//.*@", "//***@", url)


def password(path: str) -> str:
    """The one in a file."""
    try:
        told = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"{path}: cannot read the store's password: {reason}") from None
    if not told:
        raise ConfigError(f"{path}: the file is empty; write the store's password into it")
    return told


class _Wrong(ValueError):
    pass


def _options(parts: SplitResult) -> dict[str, str]:
    known = {"unix": ("prefix", "db"), "rediss": ("prefix", "ca")}.get(parts.scheme, ("prefix",))
    told = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in told:
        if key not in known:
            raise _Wrong(f"unknown option {key!r}; there are {', '.join(known)}")
    if not PREFIX.fullmatch(told.get("prefix", "svc")):
        raise _Wrong(f"the prefix must be letters, digits and _.:-, not {told['prefix']!r}")
    return told


def _place(parts: SplitResult) -> dict[str, Any]:
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise _Wrong("the socket's path must be absolute, with three slashes")
        return {"path": unquote(parts.path)}
    port = parts.port  # raises ValueError
    if not parts.hostname:
        raise _Wrong("the host is missing")
    return {"host": parts.hostname, "port": port or PORT}
