"""The keys of a babysitter TOML: what each may be, and its default.

A reader takes what TOML held and returns the value, or raises ValueError with
"what is wrong; what to do". Types are exact: true is no number, 1.0 no whole one.
"""

import dataclasses
import ipaddress
import json
import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from svc.base import shim_variables
from svc.base.address import has_credentials, is_ipv6, without_brackets
from svc.config.readers import quoted, why_unusable

Reader = Callable[[Any], Any]
PLACEHOLDER = re.compile(r"<fill in: (.+)>", re.DOTALL)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
HEALTH_PATH = re.compile(r'/[!"$-~]*')  # printable ASCII but for #
SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([KMGT]i?B)")
UNITS = {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
LEAST_SIZE = 2**20
RESERVED = ("registry", "router", "svc")
OWN_VARIABLES = {  # between supervisord and our programs in it
    "SVC_MAX_RESTARTS": "use [babysitter] max_restarts",
    "SVC_RESTART_DELAY": "use [babysitter] restart_delay",
    "SVC_PATH": "set PATH",
    "SVC_SUPERVISOR_PID": "choose another name",
    "SVC_UMASK": "choose another name",
}
OWN_METADATA = ("type", "parent_service", "babysitter", "models_list", "restarts", "restart_reason")
NAME_LIMIT = 128  # characters: its log files' names must fit into a directory
METADATA_LIMIT = 16 << 10  # bytes of JSON: it travels with every registration


class Several(ValueError):
    """More than one thing wrong inside a value: (what to add to the key, the message) of each."""

    def __init__(self, wrong: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(message for _, message in wrong))
        self.wrong = wrong


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    read: Reader
    default: Any = None
    required: str = ""  # what to do where it is missing
    help: str = ""


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {quoted(value)}; put it in quotes")
    if blank := PLACEHOLDER.fullmatch(value):
        raise ValueError(f"not filled in yet; fill in {blank[1]}")
    if reason := why_unusable(value):
        raise ValueError(reason)
    return value


def something(value: Any) -> str:
    if not text(value).strip():
        raise ValueError("must not be empty; give it a value or leave the key out")
    return value


def name(value: Any) -> str:
    if not NAME.fullmatch(text(value)):
        raise ValueError(f"{quoted(value)} is no name; use letters, digits, and _ . - after the first")
    if value in RESERVED:
        raise ValueError(f"{quoted(value)} is reserved; choose another")
    if len(value) > NAME_LIMIT:
        raise ValueError(f"has {len(value)} characters; use at most {NAME_LIMIT}")
    return value


def host(value: Any) -> str:
    """The address that others reach the instance by; an IPv6 one with or without brackets."""
    if text(value) in ("0.0.0.0", "::", "[::]", "*"):
        raise ValueError(
            f"{quoted(value)} is no address that others can reach; give this machine's name or address, "
            "here or in BABYSITTER_HOST"
        )
    bare = without_brackets(value)
    if is_ipv6(bare):
        return str(ipaddress.IPv6Address(bare))
    if not HOST.fullmatch(value):
        raise ValueError(f"{quoted(value)} is no host; give a name or an address, without port, zone or http://")
    return value


def allowed_host(value: Any) -> str:
    """A host that requests may name, or * for any."""
    if text(value) != "*" and not HOST.fullmatch(value) and not is_ipv6(without_brackets(value)):
        raise ValueError(f"{quoted(value)} is no host; give a name or an address without a port, or * for any")
    return value


def url(value: Any) -> str:
    parts = urlsplit(something(value))
    try:
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        fine = False
    if not fine or re.search(r"\s", value):
        raise ValueError(f"{quoted(value)} is no URL; write it like http://host:18000")
    if has_credentials(value):
        raise ValueError("holds a password; put the registry's token into token_file instead")
    return value.rstrip("/")


def urls(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return (url(value),)
    if not value:
        raise ValueError("must not be empty; give one URL or more")
    return items(url)(value)


def whole(least: int, most: int) -> Reader:
    def read(value: Any) -> int:
        if type(value) is not int:
            raise ValueError(f"must be a whole number, not {quoted(value)}; write it without quotes or a point")
        if not least <= value <= most:
            raise ValueError(f"must be between {least} and {most}, not {quoted(value)}; change it")
        return value

    return read


def number(least: float, most: float) -> Reader:
    def read(value: Any) -> float:
        if type(value) not in (int, float) or value != value:
            raise ValueError(f"must be a number, not {quoted(value)}; write seconds, without quotes")
        if not least <= value <= most:
            raise ValueError(f"must be between {least:g} and {most:g}, not {quoted(value)}; change it")
        return value

    return read


def choice(*words: str) -> Reader:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(map(json.dumps, words))}, not {quoted(value)}; choose one")
        return str(value)

    return read


def size(value: Any) -> int:
    """Bytes, as a whole number or with a unit; 0 for none."""
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None and type(value) is not int:
        raise ValueError(f'{quoted(value)} is no size; write it like "24GiB", or as a whole number of bytes')
    told = int(float(found[1]) * UNITS[found[2]]) if found else int(value)
    if told and told < LEAST_SIZE:
        raise ValueError(f'{quoted(value)} is less than any server needs; write it like "24GiB", or 0 for no limit')
    return told


def items(read: Reader) -> Reader:
    """A list, each item read by `read`."""

    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {quoted(value)}; put it in [ ]")
        return tuple(_each(read, ((f"[{n}]", item) for n, item in enumerate(value))))

    return read_all


def _each(read: Reader, pairs: Iterable[tuple[str, Any]]) -> list[Any]:
    good, wrong = [], []
    for suffix, value in pairs:
        try:
            good.append(read(value))
        except ValueError as error:
            wrong.append((suffix, str(error)))
    if wrong:
        raise Several(wrong)
    return good


def models(value: Any) -> tuple[str, ...]:
    def model(item: Any) -> str:
        if "," in something(item):
            raise ValueError("a mock's model has no comma in its name; make it two items")
        return item

    if value == []:
        raise ValueError('must not be empty; name a model, such as ["demo"]')
    return items(model)(value)


def health_path(value: Any) -> str:
    """The path of a GET, with its query if any; empty for none."""
    if text(value) and not HEALTH_PATH.fullmatch(value):
        raise ValueError(f'{quoted(value)} is no path; write it like "/health", or "" where there is none to ask')
    return value


def served_models(value: Any) -> None:
    """The names of the models that a server has, for one that does not list them itself."""
    if not isinstance(value, list) or not value:
        raise ValueError(f'must be a list of names, not {quoted(value)}; write it like ["whisper-1"]')
    for model in value:
        something(model)
    if repeated := [model for model in dict.fromkeys(value) if value.count(model) > 1]:
        raise ValueError(f"names {quoted(repeated[0])} twice; name it once")


def command(value: Any) -> tuple[str, ...]:
    try:
        words = shlex.split(something(value))
    except ValueError as error:
        raise ValueError(str(error) if ";" in str(error) else f"{str(error).lower()}; check its quotes") from None
    if not words or not words[0]:
        raise ValueError("names no program; write it first")
    return tuple(words)


def work_dir(value: Any) -> str:
    if text(value).startswith("~"):
        raise ValueError(f"{quoted(value)}: nothing expands the ~ here; write the whole path")
    return value


def variable(value: Any) -> str:
    """The name of an environment variable."""
    if not VARIABLE.fullmatch(text(value)):
        raise ValueError(f"{quoted(value)} is no variable's name; use letters, digits and _")
    if value.startswith(shim_variables.PREFIX):
        raise ValueError(f"begins with {shim_variables.PREFIX}, which svc itself uses; choose another name")
    if value in OWN_VARIABLES:
        raise ValueError(f"is set by svc itself; {OWN_VARIABLES[value]}")
    return value


def env(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f'must be a table, not {quoted(value)}; write env = {{ NAME = "value" }}')

    def read(pair: tuple[str, Any]) -> str:
        key, told = pair
        variable(key)
        return text(told)

    return dict(zip(value, _each(read, ((f".{key}", (key, told)) for key, told in value.items())), strict=True))


def metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a section, not {quoted(value)}; write [metadata]")

    def entry(pair: tuple[str, Any]) -> None:
        key, told = pair
        if key in OWN_METADATA:
            raise ValueError("is set by the babysitter itself; choose another key")
        if key == "models":
            served_models(told)
        if key == "cache_type" and told not in ("paged", "static"):
            raise ValueError(f'must be "paged" or "static", not {quoted(told)}; choose one')
        try:
            json.dumps(told, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"{quoted(told)} cannot be written as JSON; make it text") from None

    _each(entry, ((f".{key}", (key, told)) for key, told in value.items()))
    if (size := len(json.dumps(value))) > METADATA_LIMIT:
        raise ValueError(f"is {size} bytes as JSON; keep it under {METADATA_LIMIT}")
    return value
