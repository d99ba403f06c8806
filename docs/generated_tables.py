"""Write the tables of the documents that come from the code.

`python docs/generated_tables.py --write` replaces what stands between `<!-- generated: NAME -->` and
`<!-- end of generated -->` in docs/*.md. Without `--write` it lists the documents whose tables are stale, and exits
with 1 if there are any.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from reference import code, default_text, key_rows, setting_description, table

from svc.base.setting import rules_of
from svc.config import awake_rules
from svc.config.instance import schema
from svc.config.instance.fields import Field
from svc.config.instance.unusual_values import ON_DEMAND_KEYS
from svc.protocol.event import EVENT_KINDS
from svc.protocol.health_state import HEALTH_STATES
from svc.router.http.allowed_paths import AUXILIARY, INFERENCE
from svc.settings import SECTIONS

DOCS = Path(__file__).parent
FEATURES = {
    "stream": "streams",
    "tool": "tool calls",
    "schema": "JSON schemas",
    "responses": "Responses",
    "embeddings": "embeddings",
    "tokens": "token counts",
    "tool loop": "a loop of three tool calls",
    "edit": "the change of a file",
}
TESTED = DOCS.parent / "tests" / "conformance" / "tested.json"  # written by those tests
MARKED = re.compile(r"(?P<start><!-- generated: (?P<name>[a-z ]+) -->\n).*?(?P<end><!-- end of generated -->)", re.S)


def router_settings() -> Iterator[str]:
    rows = [
        (
            code(field.name),
            code(f"--{field.name.replace('_', '-')}"),
            code(rules_of(field).variable),
            code(default_text(field)),
            setting_description("router", field),
        )
        for field in dataclasses.fields(SECTIONS["router"])
    ]
    return table(("key", "flag", "variable", "default", "meaning"), rows)


def section_settings(section: str) -> Iterator[str]:
    """Yield the table of a section whose settings have no flags, with a column of variables if any has one."""
    fields = dataclasses.fields(SECTIONS[section])
    columns = {
        "key": [code(field.name) for field in fields],
        "variable": [code(rules_of(field).variable) for field in fields],
        "default": [code(default_text(field)) for field in fields],
        "meaning": [setting_description(section, field) for field in fields],
    }
    if not any(columns["variable"]):
        del columns["variable"]
    return table(tuple(columns), zip(*columns.values(), strict=True))


def keys(where: str, known: dict[str, Field]) -> Iterator[str]:
    return table(("key", "default", "meaning"), key_rows(where, known))


def on_demand_keys() -> Iterator[str]:
    return keys("babysitter", {key: schema.BABYSITTER[key] for key in ("on_demand", *ON_DEMAND_KEYS)})


def router_paths() -> Iterator[str]:
    inference = [(api, "`POST` " + ", ".join(map(code, paths.split()))) for api, paths in INFERENCE.items()]
    auxiliary = [
        (api, ", ".join(code(route.strip()) for route in routes.split(","))) for api, routes in AUXILIARY.items()
    ]
    return table(("API", "relayed requests"), inference + auxiliary)


def event_kinds() -> Iterator[str]:
    rows = [(code(name), kind.level, kind.reporters, kind.meaning) for name, kind in EVENT_KINDS.items()]
    return table(("kind", "level", "reported by", "meaning"), rows)


def health_states() -> Iterator[str]:
    rows = [(code(name), state.level, state.meaning) for name, state in HEALTH_STATES.items()]
    return table(("state", "level", "meaning"), rows)


def tested_clients() -> Iterator[str]:
    columns = ("client", "tested version", "path", "tested beside plain answers")
    rows = [
        (client, _versions(row), _paths(row), ", ".join(FEATURES[name] for name in row.get("features", ())))
        for client, row in _tested("clients")
    ]
    return table(columns, rows)


def tested_engines() -> Iterator[str]:
    columns = ("engine", "tested version", "paths that it serves")
    return table(columns, [(engine, _versions(row), _paths(row)) for engine, row in _tested("engines")])


def _tested(kind: str) -> Iterable[tuple[str, dict[str, Any]]]:
    rows: dict[str, dict[str, Any]] = json.loads(TESTED.read_text())[kind]
    return sorted(rows.items(), key=lambda row: row[0].lower())


def _versions(row: dict[str, Any]) -> str:
    return ", ".join(f"{code(package)} {version}" for package, version in row["packages"].items())


def _paths(row: dict[str, Any]) -> str:
    return ", ".join(map(code, row["paths"]))


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "router settings": router_settings,
    "router paths": router_paths,
    "log settings": lambda: section_settings("logs"),
    "systemd settings": lambda: section_settings("systemd"),
    "nginx settings": lambda: section_settings("nginx"),
    "on demand settings": lambda: section_settings("on_demand"),
    "on demand keys": on_demand_keys,
    "resources keys": lambda: keys("resources", schema.RESOURCES),
    "model keys": lambda: keys("model", awake_rules.MODEL_KEYS),
    "schedule keys": lambda: keys("schedule", awake_rules.SCHEDULE_KEYS),
    "event kinds": event_kinds,
    "health states": health_states,
    "clients": tested_clients,
    "engines": tested_engines,
}


def current_text(text: str) -> str:
    """Return a document's text with its generated tables as the code has them now."""

    def current_table(part: re.Match[str]) -> str:
        return "\n".join((part["start"], *TABLES[part["name"]](), part["end"]))

    return MARKED.sub(current_table, text)


def stale_documents() -> dict[Path, str]:
    """Return the documents whose tables are stale, each with its current text."""
    current_texts = {document: current_text(document.read_text()) for document in sorted(DOCS.glob("*.md"))}
    return {document: text for document, text in current_texts.items() if text != document.read_text()}


def main(arguments: list[str]) -> int:
    stale = stale_documents()
    for document, text in stale.items():
        if "--write" in arguments:
            document.write_text(text)
        print(document.relative_to(DOCS.parent))
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
