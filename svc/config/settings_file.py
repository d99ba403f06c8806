"""Reads a site's settings from command-line flags, the environment and `config/svc.toml`.

No other module maps environment variables to settings.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from svc.base.address import has_credentials
from svc.base.errors import ConfigError
from svc.base.setting import NameTable, SettingRules, TextList, UrlList, rules_of
from svc.base.text_patterns import Pattern
from svc.base.toml import parse_toml
from svc.config import awake_rules
from svc.config.awake_rules import AwakeRules
from svc.config.component_names import components_of_variables, normalized_components
from svc.config.instance.fields import urls as read_urls
from svc.settings import (
    COMPONENT_VARIABLES,
    SECTIONS,
    Settings,
)

Field = dataclasses.Field[Any]
COMPONENTS_FIELD = "components"  # a field of LaunchSettings
AWAKE_RULES_FIELD = "awake_rules_file"  # a field of RouterSettings
Tables = Mapping[str, Mapping[str, Any]]  # section -> name of the setting -> value


def load_settings(
    toml: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Tables | None = None,
    check_rules: bool = True,
) -> Settings:
    """Return the settings from flags, environment and file; raise ConfigError with every problem.

    Without `environ`, environment variables are ignored. A flag whose value is None or () was not given. With
    `check_rules`, errors in [[model]] and [[schedule]] are problems too. Servers and commands that only observe or
    operate the site do not check the rules: no setting depends on them, and the router keeps its last valid rules.
    """
    problems: list[str] = []
    document = _read(toml, problems, check_rules)
    tables = {section: table for section, table in document.items() if section in SECTIONS and isinstance(table, dict)}
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    if toml is not None and any(section in document for section in awake_rules.SECTIONS):
        values["router"][AWAKE_RULES_FIELD] = f"{toml.parent.name}/{toml.name}"  # relative to the site's directory
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            for source, raw in _sources(section, field, tables, toml, environ or {}, flags or {}):
                try:
                    values[section][field.name] = _value(field, raw)
                except ValueError as error:
                    problems.append(f"{source}: {error}")
                break
    if problems:
        raise ConfigError(*problems)
    return Settings(*(cls(**values[section]) for section, cls in SECTIONS.items()))


def load_awake_rules(toml: Path) -> AwakeRules:
    """Return the sections [[model]] and [[schedule]] of a site's svc.toml; raise ConfigError with every problem."""
    problems: list[str] = []
    document = _read(toml, problems, check_rules=True)
    if problems:
        raise ConfigError(*problems)
    return awake_rules.read_rules(document)[0]


def _read(toml: Path | None, problems: list[str], check_rules: bool) -> Mapping[str, Any]:
    """Return the file's tables; append the problems of unknown sections, of unknown keys and of rules to `problems`."""
    if toml is None or not toml.exists():
        return {}
    try:
        tables = parse_toml(toml.read_bytes())
    except OSError as error:
        problems.append(f"{toml}: cannot read it: {error}")
        return {}
    except ValueError as error:
        problems.append(f"{toml}: {error}")
        return {}
    problems += [
        f"{toml}: {problem}" for section, table in tables.items() for problem in _section_problems(section, table)
    ]
    if check_rules:
        problems += [f"{toml}: {problem}" for problem in awake_rules.read_rules(tables)[1]]
    return tables


def _section_problems(section: str, table: Any) -> Iterator[str]:
    """Yield an error message for an unknown section, or for each unknown key in a known section."""
    if section in awake_rules.SECTIONS:
        return  # `awake_rules` checks these sections
    if section not in SECTIONS:
        yield f"unknown section [{section}]; there are {', '.join((*SECTIONS, *awake_rules.SECTIONS))}"
    elif not isinstance(table, dict):
        yield f"{section} must be a section, [{section}]"
    else:
        known = [field.name for field in dataclasses.fields(SECTIONS[section])]
        yield from (
            f"[{section}] {key}: unknown key; there are {', '.join(known)}" for key in table if key not in known
        )


def _sources(
    section: str, field: Field, tables: Tables, toml: Path | None, environ: Mapping[str, str], flags: Tables
) -> Iterator[tuple[str, Any]]:
    """Yield each source that contains the setting, in order of precedence: its name for messages, and the value."""
    rules = rules_of(field)
    flag = flags.get(section, {}).get(field.name)
    if flag is not None and flag != ():
        yield f"--{field.name.replace('_', '-')}", flag
    if environ.get(rules.variable, "") != "":
        yield rules.variable, environ[rules.variable]
    if field.name == COMPONENTS_FIELD and (components := components_of_variables(environ)):
        yield ", ".join(COMPONENT_VARIABLES), components
    if field.name in tables.get(section, {}):
        yield f"{toml}: [{section}] {field.name}", tables[section][field.name]
    if environ.get(rules.fallback_variable, "") != "":
        yield rules.fallback_variable, environ[rules.fallback_variable]


def _value(field: Field, raw: Any) -> Any:
    """Return the value of a setting, converted to its type; raise ValueError if it breaks the setting's rules."""
    rules = rules_of(field)
    if field.type is bool:
        return _boolean(raw)
    if field.type is int or field.type is float:
        return _number(raw, field.type, rules)
    if field.type is NameTable:
        return _name_table(raw, rules.choices)
    if field.type is TextList:
        return _text_list(raw, rules.pattern)
    if field.type is UrlList:
        return _url_list(raw, rules)
    text = _text(raw, rules, field.default)
    return normalized_components(text) if field.name == COMPONENTS_FIELD else text


def _boolean(raw: Any) -> bool:
    if str(raw).lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"must be true or false, not {raw!r}")
    return str(raw).lower() in ("true", "1")


def _number(raw: Any, kind: Callable[[Any], float], rules: SettingRules) -> float:
    if isinstance(raw, bool):
        raise ValueError(f"must be a number, not {raw!r}")
    try:
        value = kind(raw)
        is_exact = math.isfinite(value) if kind is float else not isinstance(raw, float) or raw == value
    except (TypeError, ValueError, OverflowError):
        is_exact = False
    if not is_exact:
        raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}, not {raw!r}")
    if rules.minimum is not None and value < rules.minimum:
        raise ValueError(f"must be at least {rules.minimum}, not {raw!r}")
    if rules.maximum is not None and value > rules.maximum:
        raise ValueError(f"must be at most {rules.maximum}, not {raw!r}")
    return value


def _text(raw: Any, rules: SettingRules, default: object) -> str:
    if rules.choices and type(raw) is int:  # a choice may be a number, such as the status 404
        raw = str(raw)
    if not isinstance(raw, str):
        raise ValueError(f"must be text, not {raw!r}")
    if rules.token_setting and any(map(has_credentials, raw.split(","))):
        raise ValueError(
            f"holds a user or a password; take it out of the URL and put the token into {rules.token_setting}"
        )
    if rules.choices and raw not in rules.choices:
        raise ValueError(f"must be one of {', '.join(rules.choices)}, not {raw!r}")
    if rules.pattern and raw != default and not re.fullmatch(rules.pattern[0], raw):
        raise ValueError(f"must be {rules.pattern[1]}, not {raw!r}")
    return raw


def _url_list(raw: Any, rules: SettingRules) -> UrlList:
    """Return the URLs in a list or in a comma-separated text; raise ValueError for an invalid URL."""
    if raw == "":
        return UrlList("")
    joined = ",".join(raw) if isinstance(raw, (list, tuple)) and all(isinstance(url, str) for url in raw) else raw
    if not isinstance(joined, str):
        raise ValueError(f"must be a URL or a list of URLs, not {raw!r}")
    _text(joined, rules, "")  # raises ValueError if the URL contains a secret
    return UrlList(",".join(read_urls(joined)))


def _text_list(raw: Any, pattern: Pattern | None) -> TextList:
    """Return the texts in a list or in a comma-separated text; raise ValueError for an invalid text."""
    texts = [text.strip() for text in raw.split(",")] if isinstance(raw, str) else raw
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"must be a list of texts, not {raw!r}")
    for text in texts:
        if pattern and not re.fullmatch(pattern[0], text):
            raise ValueError(f"must be {pattern[1]}, not {text!r}")
    return tuple(text for text in texts if text)


def _name_table(raw: Any, choices: tuple[str, ...]) -> NameTable:
    """Return the sorted pairs in a table or in a flag's NAME=VALUE arguments; raise ValueError for an invalid pair."""
    if not isinstance(raw, dict):
        pairs = [str(argument).partition("=") for argument in raw] if isinstance(raw, (list, tuple)) else [("", "", "")]
        if not all(name and value for name, _, value in pairs):
            raise ValueError(f"must be names and values, NAME=VALUE, not {raw!r}")
        raw = {name: value for name, _, value in pairs}
    for name, value in raw.items():
        if not isinstance(value, str) or not value or "=" in name:
            raise ValueError(f"{name}: must be a name, not {value!r}")
        if choices and value not in choices:
            raise ValueError(f"{name}: must be one of {', '.join(choices)}, not {value!r}")
    return tuple(sorted(raw.items()))
