"""Translates the flags of infini-babysitter into the tables of a babysitter TOML. Pure."""

import copy
import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from svc.base.errors import ConfigError

DEFAULT_KIND = "command"
DEFAULT_MOCK_MODELS = "test-model"
# Type of service that uses --path -> the key for the path in the TOML, and the meaning of the path.
PATH_KEYS = {
    "vllm": ("model", "the model's path or name"),
    "infinilm": ("model_path", "the path of the model"),
    "infinilm-rust": ("config_file", "the path of the model's TOML for xtask"),
}
KINDS = (DEFAULT_KIND, "mock", *PATH_KEYS)
KEPT_KEYS = ("work_dir", "env")  # the keys to keep if a flag replaces the backend's type in the file


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BabysitterFlags:
    """The flags of infini-babysitter that describe the instance. None or an empty value means an absent flag."""

    name: str | None = None
    port: int | None = None
    service_type: str | None = None
    path: str | None = None
    command: str | None = None
    args: str | None = None
    work_dir: str | None = None
    max_restarts: int | None = None
    restart_delay: float | None = None
    heartbeat_interval: float | None = None
    launch_script: str | None = None
    server_flags: tuple[str, ...] = ()  # flags for InfiniLM's server, such as --ndev 4
    env: tuple[str, ...] = ()  # NAME=VALUE; a text may contain several, separated by blanks

    @property
    def are_absent(self) -> bool:
        """Whether no flag is given, so that a TOML file can be used unchanged."""
        return self == BabysitterFlags()


def merged_document(flags: BabysitterFlags, file: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the tables of a babysitter TOML: the tables of `file`, with values replaced by those of the flags.

    Raise ConfigError for a missing or wrong flag. The values of the file are not checked.
    """
    document: dict[str, Any] = copy.deepcopy(dict(file or {}))
    if flags.port is None and "port" not in document:
        raise ConfigError("--port: missing; give the instance's port, or a TOML file with --config-file")
    document |= _given(name=flags.name, port=flags.port)
    limits = _given(
        max_restarts=flags.max_restarts,
        restart_delay=flags.restart_delay,
        heartbeat_interval=flags.heartbeat_interval,
    )
    if limits:
        document["babysitter"] = {**_table(document, "babysitter"), **limits}
    document["backend"] = _backend(flags, _table(document, "backend"))
    return document


def _backend(flags: BabysitterFlags, before: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(flags, before)
    if kind not in KINDS:
        return dict(before)  # the reader of the TOML reports the invalid type
    same = before.get("type") == kind
    backend = {"type": kind} | {key: value for key, value in before.items() if same or key in KEPT_KEYS}
    backend |= _given(work_dir=flags.work_dir)
    if env := _variables(flags.env):
        backend["env"] = {**_table(backend, "env"), **env}
    if kind == "command":
        _set(backend, "command", _joined(flags.command), "--command: missing; give the program to run")
    elif kind == "mock":
        default = None if "models" in backend else DEFAULT_MOCK_MODELS
        backend |= _given(models=_models(flags.args or default))
    else:
        key, purpose = PATH_KEYS[kind]
        _set(backend, key, flags.path, f"--path: missing; give {purpose}")
    if kind == "infinilm":
        backend |= _given(launch_script=flags.launch_script)
    if kind in ("command", "vllm", "infinilm"):
        args: list[Any] = flags.args.split() if flags.args is not None else list(backend.get("args", ()))
        args += flags.server_flags if kind == "infinilm" else ()
        backend |= {"args": args} if args else {}
    return backend


def _kind(flags: BabysitterFlags, before: Mapping[str, Any]) -> str:
    """Return the backend's type. As in the original, --command overrides --service-type: the type is then `command`."""
    if flags.command is not None:
        return "command"
    kind = (flags.service_type or str(before.get("type", DEFAULT_KIND))).lower()
    if kind not in KINDS and flags.service_type:
        raise ConfigError(
            f"--service-type: there is no type {flags.service_type!r}; "
            "choose InfiniLM, InfiniLM-Rust, vLLM, mock or command"
        )
    return kind


def _joined(command: str | None) -> str | None:
    """Return a command with its words quoted.

    The original splits a command only at blanks, but the reader of the TOML splits it like a shell.
    """
    return None if command is None else shlex.join(command.split())


def _models(models: str | None) -> list[str] | None:
    return None if models is None else [model.strip() for model in models.split(",") if model.strip()]


def _variables(env: tuple[str, ...]) -> dict[str, str]:
    pairs = [pair.partition("=") for text in env for pair in text.split()]
    for name, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--env: {name!r} is no NAME=VALUE; write it like CUDA_VISIBLE_DEVICES=0")
    return {name: value for name, _, value in pairs}


def _set(backend: dict[str, Any], key: str, value: str | None, missing: str) -> None:
    """Set a key to a flag's value. Without the flag, keep the file's value.

    Raise ConfigError with the message `missing` if there is neither.
    """
    if value is not None:
        backend[key] = value
    elif key not in backend:
        raise ConfigError(missing)


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key, {})
    return dict(table) if isinstance(table, Mapping) else {}


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
