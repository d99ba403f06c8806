"""Readers of the values in a babysitter TOML. Each returns the checked value or raises ValueError with the cure."""

import dataclasses
import ipaddress
import json
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

from svc.base.address import has_credentials, is_ipv6, without_brackets
from svc.base.byte_size import parse_size
from svc.config.readers import Reader, list_of, nonempty_text, number, quoted, read_each, text, whole_number
from svc.protocol import on_demand_variables, shim_variables
from svc.protocol.resources import MAX_GPU_COUNT, MAX_GPU_INDEX
from svc.protocol.service import AUTO_CONCURRENCY, CONTINUES, CONTINUES_MESSAGES

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
HEALTH_PATH = re.compile(r'/[!"$-~]*')  # printable ASCII without #
MIN_SIZE_BYTES = 2**20
MIN_LOAD_INTERVAL_SECONDS = 0.1
RESERVED_NAMES = ("registry", "router", "svc")
OWN_VARIABLES = {  # variable that svc itself sets or reads -> what the operator can set instead
    "SVC_MAX_RESTARTS": "use [babysitter] max_restarts",
    "SVC_RESTART_DELAY": "use [babysitter] restart_delay",
    "SVC_PATH": "set PATH",
    "SVC_SUPERVISOR_PID": "choose another name",
    "SVC_UMASK": "choose another name",
    on_demand_variables.GPUS_VARIABLE: "use [resources] gpus",
    on_demand_variables.GPU_COUNT_VARIABLE: "use [resources] gpus",
    on_demand_variables.GPU_MEMORY_VARIABLE: "use [resources] gpu_memory",
    on_demand_variables.ON_DEMAND_VARIABLE: "use [babysitter] on_demand",
    on_demand_variables.KEEP_VARIABLE: "use [babysitter] keep",
    on_demand_variables.MIN_AWAKE_VARIABLE: "use [babysitter] min_awake",
    on_demand_variables.SLEEP_VARIABLE: "use [babysitter] sleep",
}
OWN_METADATA = (
    *("type", "parent_service", "babysitter", "models_list", "restarts", "restart_reason"),
    *("on_demand", "wake_timeout", "load_seconds", "resources"),
)
MAX_NAME_CHARACTERS = 128  # the log file's name contains the instance's name, and file names are limited
MAX_METADATA_BYTES = 16 << 10  # limit for the metadata as JSON, which is part of every registration


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One key of a TOML file: the reader of its value, and its default."""

    read: Reader
    default: Any = None
    required: str = ""  # the cure for the error message if the key is missing; "" for an optional key
    help: str = ""


def name(value: Any) -> str:
    """Read the name of an instance."""
    if not NAME.fullmatch(text(value)):
        raise ValueError(f"{quoted(value)} is no name; use letters, digits, and _ . - after the first")
    if value in RESERVED_NAMES:
        raise ValueError(f"{quoted(value)} is reserved; choose another")
    if len(value) > MAX_NAME_CHARACTERS:
        raise ValueError(f"has {len(value)} characters; use at most {MAX_NAME_CHARACTERS}")
    return value


def host(value: Any) -> str:
    """Read the host at which clients reach the instance; an IPv6 address may have brackets.

    A wildcard address is accepted, because the babysitter registers this machine's address instead. `svc check` warns
    of it.
    """
    if text(value) == "*":
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
    """Read a host that is allowed in a request's Host header, or * for any host."""
    if text(value) != "*" and not HOST.fullmatch(value) and not is_ipv6(without_brackets(value)):
        raise ValueError(f"{quoted(value)} is no host; give a name or an address without a port, or * for any")
    return value


def url(value: Any) -> str:
    """Read the URL of a server, without a slash at its end."""
    value = nonempty_text(value).strip()
    parts = urlsplit(value)
    try:
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is invalid
        is_url = False
    if not is_url or re.search(r"\s", value):
        raise ValueError(f"{quoted(value)} is no URL; write it like http://host:18000")
    if has_credentials(value):
        raise ValueError("holds a password; put the registry's token into token_file instead")
    return value.rstrip("/")


def urls(value: Any) -> tuple[str, ...]:
    """Read a list of URLs, or a text of one or more comma-separated URLs."""
    if not isinstance(value, list):
        return tuple(map(url, nonempty_text(value).split(",")))
    if not value:
        raise ValueError("must not be empty; give one URL or more")
    return list_of(url)(value)


def size(value: Any) -> int:
    """Read a size, a whole number of bytes or a text with a unit, and return it in bytes; 0 means no limit."""
    size_bytes = parse_size(value) if isinstance(value, str) else value if type(value) is int else None
    if size_bytes is None:
        raise ValueError(f'{quoted(value)} is no size; write it like "24GiB", or as a whole number of bytes')
    if size_bytes and size_bytes < MIN_SIZE_BYTES:
        raise ValueError(f'{quoted(value)} is less than any server needs; write it like "24GiB", or 0 for no limit')
    return size_bytes


def gpus(value: Any) -> tuple[int, ...] | int:
    """Read the GPUs of an instance: a list of their indexes, or their number if any GPUs will do."""
    if type(value) is int:
        return int(whole_number(1, MAX_GPU_COUNT)(value))
    if not isinstance(value, list):
        raise ValueError(f"must be indexes or a number, not {quoted(value)}; write [0, 1] for these two, or 2 for any")
    if not value:
        raise ValueError("must not be empty; name a GPU, such as [0], or remove [resources]")
    indexes: tuple[int, ...] = list_of(whole_number(0, MAX_GPU_INDEX))(value)
    if repeated := [index for index in dict.fromkeys(indexes) if indexes.count(index) > 1]:
        raise ValueError(f"names GPU {repeated[0]} twice; name it once")
    return indexes


def gpu_memory(value: Any) -> int:
    """Read the memory that an instance needs on each of its GPUs, and return it in bytes."""
    if type(value) is int and value == 0:
        raise ValueError("must not be 0; remove the key if the instance needs the whole GPU")
    size_bytes = parse_size(value) if isinstance(value, str) else value
    if type(size_bytes) is int and size_bytes < MIN_SIZE_BYTES:
        raise ValueError(f'{quoted(value)} is less than any server needs; write it with its unit, such as "38GB"')
    return size(value)


def load_interval(value: Any) -> float:
    """Read the interval between two reports of the engine's load; 0 means that the load is not reported."""
    return 0.0 if value == 0 and not isinstance(value, bool) else number(MIN_LOAD_INTERVAL_SECONDS, 3600)(value)


def models(value: Any) -> tuple[str, ...]:
    """Read the model names of a mock engine."""

    def model(item: Any) -> str:
        if "," in nonempty_text(item):
            raise ValueError("a mock's model has no comma in its name; make it two items")
        return item

    if value == []:
        raise ValueError('must not be empty; name a model, such as ["demo"]')
    return list_of(model)(value)


def health_path(value: Any) -> str:
    """Read the path of the health check, which may have a query; an empty path disables the check."""
    if text(value) and not HEALTH_PATH.fullmatch(value):
        raise ValueError(f'{quoted(value)} is no path; write it like "/health", or "" where there is none to ask')
    return value


def served_models(value: Any) -> None:
    """Check the model names of an engine that does not list its models itself."""
    if not isinstance(value, list) or not value:
        raise ValueError(f'must be a list of names, not {quoted(value)}; write it like ["whisper-1"]')
    for model in value:
        nonempty_text(model)
    if repeated := [model for model in dict.fromkeys(value) if value.count(model) > 1]:
        raise ValueError(f"names {quoted(repeated[0])} twice; name it once")


def command(value: Any) -> tuple[str, ...]:
    """Read a command, split as a shell splits it."""
    try:
        argv = shlex.split(nonempty_text(value))
    except ValueError as error:
        raise ValueError(str(error) if ";" in str(error) else f"{str(error).lower()}; check its quotes") from None
    if not argv or not argv[0]:
        raise ValueError("names no program; write it first")
    return tuple(argv)


def work_dir(value: Any) -> str:
    """Read the path of a program's working directory."""
    if text(value).startswith("~"):
        raise ValueError(f"{quoted(value)}: nothing expands the ~ here; write the whole path")
    return value


def variable(value: Any) -> str:
    """Read the name of an environment variable."""
    if not VARIABLE.fullmatch(text(value)):
        raise ValueError(f"{quoted(value)} is no variable's name; use letters, digits and _")
    if value.startswith(shim_variables.PREFIX):
        raise ValueError(f"begins with {shim_variables.PREFIX}, which svc itself uses; choose another name")
    if value in OWN_VARIABLES:
        raise ValueError(f"is set by svc itself; {OWN_VARIABLES[value]}")
    return value


def env(value: Any) -> dict[str, str]:
    """Read a table of environment variables."""
    if not isinstance(value, dict):
        raise ValueError(f'must be a table, not {quoted(value)}; write env = {{ NAME = "value" }}')

    def read(pair: tuple[str, Any]) -> str:
        variable(pair[0])
        return text(pair[1])

    return dict(zip(value, read_each(read, ((f".{pair[0]}", pair) for pair in value.items())), strict=True))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def metadata(value: Any) -> dict[str, Any]:
    """Read the metadata, which routers receive with the registration."""
    if not isinstance(value, dict):
        raise ValueError(f"must be a section, not {quoted(value)}; write [metadata]")

    def entry(pair: tuple[str, Any]) -> None:
        key, item = pair
        if key in OWN_METADATA:
            raise ValueError("is set by the babysitter itself; choose another key")
        if key == "models":
            served_models(item)
        if key in ("static", CONTINUES, CONTINUES_MESSAGES) and not isinstance(item, bool):
            raise ValueError(f"must be true or false, not {quoted(item)}")
        if key == "cache_type" and item not in ("paged", "static"):
            raise ValueError(f'must be "paged" or "static", not {quoted(item)}; choose one')
        if key == "max_concurrency" and item != AUTO_CONCURRENCY and not _is_count(item):
            raise ValueError(f'must be a number of requests or "auto", not {quoted(item)}; 0: unlimited')
        try:
            json.dumps(item, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"{quoted(item)} cannot be written as JSON; make it text") from None

    read_each(entry, ((f".{pair[0]}", pair) for pair in value.items()))
    if (size := len(json.dumps(value))) > MAX_METADATA_BYTES:
        raise ValueError(f"is {size} bytes as JSON; keep it under {MAX_METADATA_BYTES}")
    return value
