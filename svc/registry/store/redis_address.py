"""The address of a Redis, parsed from `--store redis://...`. This module does not need the redis package."""

import dataclasses
import re
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from svc.base import secret_file
from svc.base.address import authority
from svc.base.errors import ConfigError

SCHEMES = ("redis", "rediss", "unix")
DEFAULT_PORT = 6379
PREFIX_PATTERN = re.compile(r"[A-Za-z0-9_.:{}-]{1,64}")
URL_FORMS = "redis://HOST:PORT/DB?prefix=svc, rediss://HOST:PORT/DB (TLS; &ca=FILE) or unix:///PATH?db=0"


@dataclasses.dataclass(frozen=True, slots=True)
class RedisAddress:
    """A Redis server, the login, and the prefix of the registry's keys. str() of it shows no secret."""

    scheme: str
    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""  # path of the unix socket; "" for TCP
    db: int = 0
    username: str = ""
    password: str = dataclasses.field(default="", repr=False)
    password_file: str = ""
    ca: str = ""  # file with CA certificates for rediss://; "" for the system's certificates
    prefix: str = "svc"

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"{self.scheme}://{authority(self.host, self.port)}/{self.db}"


def is_redis(url: str) -> bool:
    return url.partition(":")[0] in SCHEMES


def parse(url: str, password_file: str = "") -> RedisAddress:
    """Return the address in a URL; raise ConfigError, whose message does not show the password."""
    try:
        parts = urlsplit(url)
        location = _location(parts)
        options = _options(parts)
        db = options.pop("db", "0") if parts.scheme == "unix" else parts.path.strip("/") or "0"
        if not db.isdecimal():
            raise _InvalidURL("the database must be a whole number")
        if password_file and parts.password:
            raise _InvalidURL("it has a password, and there is a password file too; give one of them")
        if parts.username and not (parts.password or password_file):
            raise _InvalidURL("it names a user but no password; write :PASSWORD before the @")
        address = RedisAddress(
            scheme=parts.scheme,
            db=int(db),
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            password_file=password_file,
            ca=options.get("ca", ""),
            prefix=options.get("prefix", "svc"),
        )
        return dataclasses.replace(address, **location)
    except _InvalidURL as error:
        raise ConfigError(f"store: cannot use {masked(url)!r}: {error}; give {URL_FORMS}") from None
    except ValueError:  # its message may contain a part of the password
        raise ConfigError(
            f"store: cannot use {masked(url)!r}: it is no URL; give {URL_FORMS}, with %2F for a / in a password"
        ) from None


def masked(url: str) -> str:
    """Return the URL without its user and password."""
    return re.sub(r"//.*@", "//***@", url)


def read_password(path: str) -> str:
    """Return the password in the file of the setting store_password_file; raise ConfigError if it has none."""
    return secret_file.read(Path(path), _parse_password, "store_password_file")


def _parse_password(data: bytes, path: Path) -> str:
    try:
        password = data.decode().strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the password is not UTF-8; correct the file") from None
    if not password:
        raise ConfigError(f"{path}: the file is empty; write the store's password into it")
    return password


class _InvalidURL(ValueError):
    pass


def _options(parts: SplitResult) -> dict[str, str]:
    known = {"unix": ("prefix", "db"), "rediss": ("prefix", "ca")}.get(parts.scheme, ("prefix",))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in options:
        if key not in known:
            raise _InvalidURL(f"unknown option {key!r}; there are {', '.join(known)}")
    if not PREFIX_PATTERN.fullmatch(options.get("prefix", "svc")):
        raise _InvalidURL(f"the prefix must be letters, digits and _.:-, not {options['prefix']!r}")
    return options


def _location(parts: SplitResult) -> dict[str, Any]:
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise _InvalidURL("the socket's path must be absolute, with three slashes")
        return {"path": unquote(parts.path)}
    port = parts.port  # raises ValueError
    if not parts.hostname:
        raise _InvalidURL("the host is missing")
    return {"host": parts.hostname, "port": port or DEFAULT_PORT}
