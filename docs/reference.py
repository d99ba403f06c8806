"""Write the reference pages from the code: commands, settings, TOML keys, metrics and endpoints.

Everything that a user meets needs a description in the code; the build fails with `Undocumented` where one is missing.
"""

import dataclasses
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from svc.base.flask_app import routes
from svc.base.route import Route
from svc.base.setting import rules_of
from svc.base.version import installed
from svc.config import awake_rules
from svc.config.instance import schema
from svc.config.instance.fields import Field
from svc.registry.access.guard import OPEN, READ, REPORT, WRITE
from svc.settings import SECTIONS, RouterSettings

FORMAT_LABELS = ("le", "quantile")  # histograms and summaries add them to their samples
ACCESS_DESCRIPTIONS = {
    OPEN: "every machine",
    READ: "every machine; where a read token is set, other machines need one of the two tokens",
    REPORT: "this machine, and other machines with one of the two tokens",
    WRITE: "this machine, and other machines with the write token",
}
LINK_OUTSIDE_DOCS = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


class Undocumented(Exception):
    """A command, setting, key, metric or endpoint without a description."""


def version() -> str:
    """Return the installed version without its local part."""
    return installed().partition("+")[0]


def without_outer_links(text: str) -> str:
    """Replace each link to a file outside docs/ by that file's path in the repository."""

    def path(link: re.Match[str]) -> str:
        return link[1] if "`" in link[1] else f"{link[1]} (`{link[2].removeprefix('../')}`)"

    return LINK_OUTSIDE_DOCS.sub(path, text)


def write(directory: Path) -> None:
    """Write one page for each part of the reference; leave a page that is already current untouched."""
    directory.mkdir(exist_ok=True)
    for name, lines in {
        "cli": cli(),
        "settings": settings(),
        "toml": toml(),
        "metrics": metrics(),
        "http": http(),
    }.items():
        text = "\n".join(lines) + "\n"
        file = directory / f"{name}.md"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def required(name: str, description: str | None) -> str:
    """Return the description of `name`; raise Undocumented where it is missing."""
    if not description or not description.strip():
        raise Undocumented(f"{name} has no description; add one to the code (help text, docstring or summary)")
    return description.strip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, and an empty line."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"
    yield ""


def code(value: Any) -> str:
    return f"`{value}`" if value not in ("", None) else ""


# Commands.


def cli() -> Iterator[str]:
    from svc.cli.main import svc

    yield "# Commands\n"
    yield "Each command prints this text with `-h` or `--help`.\n"
    yield from _command(svc, "svc", click.Context(svc, info_name="svc", **svc.context_settings))


def _command(command: click.Command, name: str, context: click.Context) -> Iterator[str]:
    required(name, command.help)
    yield f"## {name}\n"
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for subcommand_name in command.list_commands(context):
            subcommand = command.get_command(context, subcommand_name)
            assert subcommand is not None
            if not subcommand.hidden:
                extra = subcommand.context_settings
                subcontext = click.Context(subcommand, info_name=subcommand_name, parent=context, **extra)
                yield from _command(subcommand, f"{name} {subcommand_name}", subcontext)


# Settings, and the keys of a babysitter's TOML.


def settings() -> Iterator[str]:
    yield "# Settings of a site\n"
    yield "`config/svc.toml` has one section for each part. A flag overrides the variable, which overrides the file.\n"
    for section, cls in SECTIONS.items():
        yield f"## [{section}]\n"
        yield from table(
            ("key", "variable", "default", "meaning"), [_setting(section, f) for f in dataclasses.fields(cls)]
        )
    yield from _awake_rules()


def _awake_rules() -> Iterator[str]:
    for section, known in (("model", awake_rules.MODEL_KEYS), ("schedule", awake_rules.SCHEDULE_KEYS)):
        yield f"## [[{section}]]\n"
        yield "There may be several. [Models on demand](../ON_DEMAND.md) describes them.\n"
        yield from _keys(section, known)


def _setting(section: str, field: "dataclasses.Field[Any]") -> Sequence[str]:
    return (
        code(field.name),
        code(rules_of(field).variable),
        code(default_text(field)),
        setting_description(section, field),
    )


def default_text(field: "dataclasses.Field[Any]") -> str:
    """Return the default of a setting as a user writes it; empty where the setting is empty by default."""
    default = field.default
    if default in ("", ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def setting_description(section: str, field: "dataclasses.Field[Any]") -> str:
    """Return the help text of a setting, with its choices."""
    rules = rules_of(field)
    description = required(f"[{section}] {field.name}", rules.help)
    choices = ", ".join(f"`{choice}`" for choice in rules.choices)
    return f"{description} ({choices})" if choices else description


def toml() -> Iterator[str]:
    yield "# Keys of an instance's TOML\n"
    yield "Each instance has one file in `config/`; `svc check` reports every mistake in it.\n"
    yield "[The babysitter](../BABYSITTER.md) describes the keys in detail.\n"
    yield "## Top level\n"
    yield from _keys("", schema.TOP_LEVEL)
    yield "## [babysitter]\n"
    yield from _keys("babysitter", schema.BABYSITTER)
    yield "## [resources]\n"
    yield from _keys("resources", schema.RESOURCES)
    for name, (_, known) in schema.BACKENDS.items():
        yield f'## [backend], type = "{name}"\n'
        yield from _keys(f"backend {name}", known)


def _keys(where: str, known: Mapping[str, Field]) -> Iterator[str]:
    yield from table(("key", "default", "meaning"), key_rows(where, known))


def key_rows(where: str, known: Mapping[str, Field]) -> list[Sequence[str]]:
    """Return a row for each key of a section of a TOML."""
    return [
        (
            code(key),
            "required" if f.required else code(_key_default(f.default)),
            required(f"{where} {key}", f.help),
        )
        for key, f in known.items()
    ]


def _key_default(default: object) -> str:
    """Return the default of a key; empty where the key has none, or where its description says what it is."""
    return "" if isinstance(default, tuple) or default in (None, 0, "", {}, awake_rules.MAX_AWAKE) else str(default)


# Metrics.


def metrics() -> Iterator[str]:
    yield "# Metrics\n"
    yield "Each part serves its metrics for Prometheus at `/metrics`.\n"
    yield "[Monitoring](../MONITORING.md) describes Prometheus, alerts and the dashboard.\n"
    for part, collected in (("router", _router()), ("registry", _registry()), ("babysitter", _babysitter())):
        yield f"## {part.capitalize()}\n"
        rows = [_metric(m.name + ("_total" if m.type == "counter" else ""), m) for m in collected]
        yield from table(("metric", "kind", "labels", "meaning"), sorted(rows))


def _metric(name: str, metric: Metric) -> Sequence[str]:
    """Return the row of a metric; a collector's metric has its labels only in its samples."""
    sample_labels = (label for sample in metric.samples for label in sample.labels if label not in FORMAT_LABELS)
    labels = getattr(metric, "_labelnames", None) or dict.fromkeys(sample_labels)
    return code(name), metric.type, ", ".join(map(code, labels)), required(name, metric.documentation)


def _router() -> Iterable[Metric]:
    from svc.router.balance.routing_table import Origin
    from svc.router.proxy.api_keys import ApiKeys
    from svc.router.state import RouterState
    from svc.router.telemetry.metrics import RouterMetrics

    state = RouterState(RouterSettings(), keys=ApiKeys(Path("keys.toml")))
    state.origin = Origin("registry", state.clock())
    return RouterMetrics(state).collect()


def _registry() -> Iterable[Metric]:
    from svc.registry.leases.sweep import LeaseSweep
    from svc.registry.metrics import RegistryMetrics
    from svc.registry.store.sqlite import SqliteStore

    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "registry.db")
        metrics_registry: CollectorRegistry = RegistryMetrics(store, LeaseSweep(store, store.now).health).registry
        collected = list(metrics_registry.collect())
        store.close()
    return collected


def _babysitter() -> Iterable[Metric]:
    """Return the metrics of a babysitter with every check enabled."""
    from svc.babysitter.lifecycle import LifecycleState
    from svc.babysitter.metrics import BabysitterMetrics

    snapshot, counts = SimpleNamespace(state=LifecycleState.RUNNING, process=None), Counter[Any]()
    engine_status = SimpleNamespace(check_seconds=0.0)
    monitor: Any = SimpleNamespace(
        snapshot=snapshot, config=SimpleNamespace(max_restarts=0), started=0.0, engine_status=engine_status
    )
    registrar: Any = SimpleNamespace(last_heartbeat=0.0, registered=True)
    hang_probe: Any = SimpleNamespace(counts=counts, last=SimpleNamespace(failures=0))
    limits: Any = SimpleNamespace(
        config=SimpleNamespace(probe="generate", max_memory=1), restarter=SimpleNamespace(counts=counts), memory=0
    )
    return BabysitterMetrics(monitor, registrar, hang_probe, limits).collect()


# Endpoints.


def http() -> Iterator[str]:
    from svc.registry.app import ROUTES
    from svc.registry.openapi import OPERATIONS

    yield "# HTTP endpoints\n"
    yield "`GET /openapi.json` describes every parameter and every response. [The HTTP API](../API.md) has examples.\n"
    yield "## Registry\n"
    rows = [
        (method, code(path), access, required(path, OPERATIONS[name].summary)) for method, path, access, name in ROUTES
    ]
    yield from table(("method", "path", "access", "meaning"), rows)
    access_levels = "; ".join(f"**{access}**: {description}" for access, description in ACCESS_DESCRIPTIONS.items())
    yield f"{access_levels}. [The registry](../REGISTRY.md) describes the tokens.\n"
    yield "## Router\n"
    yield "The router answers these itself; it relays the paths of [its table](../ROUTER.md#which-paths-pass).\n"
    yield from table(("method", "path", "meaning"), _views(routes(_router_app())))
    yield "## Babysitter\n"
    yield "The babysitter listens on the instance's port + 1.\n"
    yield from table(("method", "path", "meaning"), _views(_babysitter_app().routes()))


def _views(routes: Iterable[Route]) -> list[Sequence[str]]:
    return [(route.method, code(route.path), required(route.path, route.summary)) for route in routes]


def _router_app() -> Any:
    from svc.router.app import create_app
    from svc.router.state import RouterState

    return create_app(RouterState(RouterSettings()))


def _babysitter_app() -> Any:
    from svc.babysitter import app

    unused: Any = None  # the routes are listed, not called
    return app.create_app(unused, unused, unused, unused, unused)
