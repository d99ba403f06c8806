"""A setting as a dataclass field: its default, its environment variables, and the rules for its values."""

import dataclasses
from types import MappingProxyType
from typing import Any, NewType

from svc.base.text_patterns import Pattern

NameTable = tuple[tuple[str, str], ...]  # the (key, value) pairs of a TOML table such as [router.aliases]
TextList = tuple[str, ...]  # a TOML list of texts; in a flag or an environment variable, separated by commas
UrlList = NewType("UrlList", str)  # URLs separated by commas; a list in svc.toml is joined to such a text


@dataclasses.dataclass(frozen=True, slots=True)
class SettingRules:
    """The environment variables of a setting, and the values that it may have."""

    variable: str = ""  # the environment variable that overrides the file
    fallback_variable: str = ""  # the environment variable that the file overrides
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: Pattern | None = None
    token_setting: str = ""  # for a URL, which must contain no secret: the setting for the secret
    help: str = ""


def setting(default: object, variable: str = "", **rules: Any) -> Any:
    """Return a dataclass field with its SettingRules, as `Any`, so that it fits the annotation of every field."""
    metadata = {"rules": SettingRules(variable, **rules)}
    return dataclasses.field(default=default, metadata=MappingProxyType(metadata))


def rules_of(field: "dataclasses.Field[Any]") -> SettingRules:
    """Return the rules of a field that `setting` created."""
    rules: SettingRules = field.metadata["rules"]
    return rules
