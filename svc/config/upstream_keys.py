"""The file of the API keys that the router sends to instances.

Each key is for one instance, or for all instances with a model. An operator writes the file:

[instances]
qwen-server = "..."               # the name in the output of `svc services`

[models]
"Qwen/Qwen3-8B" = "..."           # for every instance that has this model
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from svc.base.errors import ConfigError
from svc.base.secret_file import read
from svc.base.toml import parse_toml
from svc.protocol.engine_key import check_key

SECTIONS = ("instances", "models")
SETTING = "upstream_keys_file"


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class UpstreamKeys:
    """The keys: `instances` maps instance names to keys, `models` maps models to keys."""

    instances: Mapping[str, str] = dataclasses.field(default_factory=dict)
    models: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.instances) + len(self.models)

    def find(self, instance: str, models: Sequence[str]) -> str:
        """Return the key for an instance name, else for the first of `models` that has a key, else an empty text."""
        if instance in self.instances:
            return self.instances[instance]
        return next((self.models[model] for model in models if model in self.models), "")


def load(path: Path) -> UpstreamKeys:
    """Return the keys of a file; raise ConfigError with every problem."""
    return read(path, parse, SETTING)


def parse(data: bytes, path: Path) -> UpstreamKeys:
    """Return the keys in `data`, the content of the file `path`; raise ConfigError with every problem.

    A file without sections is refused, because it may not have been written completely.
    """
    try:
        tables = parse_toml(data)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    problems = [f"{path}: {problem}" for problem in _problems(tables)]
    if problems:
        raise ConfigError(*problems)
    return UpstreamKeys(*(tables.get(section, {}) for section in SECTIONS))


def _problems(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield an error message for every problem. Values are not quoted, because a value may be a key."""
    if not tables.keys() & set(SECTIONS):
        yield 'has neither [instances] nor [models]; write NAME = "KEY" under one of them'
    for name, table in tables.items():
        if name not in SECTIONS:
            yield f"{name!r}: unknown section; there are [instances] and [models]"
        elif not isinstance(table, dict):
            yield f"{name}: must be a section; write [{name}]"
        else:
            yield from _wrong_entries(name, table)


def _wrong_entries(section: str, table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield f'[{section}] {name!r}: a name with a dot stands in quotes, "{name}. ..." = "KEY"'
            continue
        try:
            check_key(value)
        except ValueError as error:
            yield f"[{section}] {name!r}: {error}"
