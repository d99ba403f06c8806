"""The reference: commands, settings, keys of a TOML, metrics, endpoints, as the code has them.

Whatever has no words of its own fails the build: `Undocumented` names it.
"""

import dataclasses
import inspect
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace as Told
from typing import Any

import click
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from svc.base import version as running
from svc.config.instance import schema
from svc.config.instance.fields import Field
from svc.registry.access.guard import OPEN, READ, REPORT, WRITE
from svc.settings import SECTIONS, RouterSettings, rules_of

OF_THE_FORMAT = ("le", "quantile")  # labels that a histogram or a summary brings along
WHO_MAY = {
    OPEN: "anybody",
    READ: "this machine, and others; where a read token is set, those that show one of the two tokens",
    REPORT: "this machine, and others that show one of the two tokens",
    WRITE: "this machine, and others that show the write token",
}
OUTER = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(?:#[^)]*)?\)")


class Undocumented(Exception):
    """Something that users meet, and nobody described."""


def version() -> str:
    return running.installed().partition("+")[0]


def without_outer_links(text: str) -> str:
    """A link to a file that is not a document of the site becomes the file's path in the repository."""
    return OUTER.sub(lambda link: link[1] if "`" in link[1] else f"{link[1]} (`{link[2].removeprefix('../')}`)", text)


def write(place: Path) -> None:
    """One page each; those that are the same already are not touched."""
    place.mkdir(exist_ok=True)
    for name, lines in {
        "cli": cli(),
        "settings": settings(),
        "toml": toml(),
        "metrics": metrics(),
        "http": http(),
    }.items():
        text = "\n".join(lines) + "\n"
        file = place / f"{name}.md"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def said(what: str, words: str | None) -> str:
    if not words or not words.strip():
        raise Undocumented(f"{what}: nothing says what it is")
    return words.strip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
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
    yield "Each tells the same with `-h` or `--help`.\n"
    yield from _command(svc, "svc", click.Context(svc, info_name="svc", **svc.context_settings))


def _command(command: click.Command, name: str, context: click.Context) -> Iterator[str]:
    said(name, command.help)
    yield f"## {name}\n"
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            assert inner is not None
            if not inner.hidden:
                own = click.Context(inner, info_name=word, parent=context, **inner.context_settings)
                yield from _command(inner, f"{name} {word}", own)


# Settings, and the keys of a babysitter's TOML.


def settings() -> Iterator[str]:
    yield "# Settings of a site\n"
    yield "In `config/svc.toml`, a section for each part. A flag wins over the variable, and that over the file.\n"
    for section, cls in SECTIONS.items():
        yield f"## [{section}]\n"
        yield from table(
            ("key", "variable", "default", "meaning"), [_setting(section, f) for f in dataclasses.fields(cls)]
        )


def _setting(section: str, field: Any) -> Sequence[str]:
    rules = rules_of(field)
    words = said(f"[{section}] {field.name}", rules.help)
    if rules.choices:
        words += f": {', '.join(f'`{choice}`' for choice in rules.choices)}"
    return code(field.name), code(rules.variable), code(field.default if field.default != () else ""), words


def toml() -> Iterator[str]:
    yield "# Keys of an instance's TOML\n"
    yield "One file in `config/` for each instance; `svc check` names every mistake.\n"
    yield "[The babysitter](../BABYSITTER.md) says more.\n"
    yield "## At the top\n"
    yield from _keys("", schema.TOP)
    yield "## [babysitter]\n"
    yield from _keys("babysitter", schema.BABYSITTER)
    for name, (_, known) in schema.BACKENDS.items():
        yield f'## [backend], type = "{name}"\n'
        yield from _keys(f"backend {name}", known)


def _keys(where: str, known: dict[str, Field]) -> Iterator[str]:
    rows = [
        (code(key), "needed" if f.required else code(f.default if f.default else ""), said(f"{where} {key}", f.help))
        for key, f in known.items()
    ]
    yield from table(("key", "default", "meaning"), rows)


# Metrics.


def metrics() -> Iterator[str]:
    yield "# Metrics\n"
    yield "For Prometheus at `/metrics` of each part.\n"
    yield "[Monitoring](../MONITORING.md) says more.\n"
    for part, collected in (("router", _router()), ("registry", _registry()), ("babysitter", _babysitter())):
        yield f"## Of the {part}\n"
        rows = [_metric(m.name + ("_total" if m.type == "counter" else ""), m) for m in collected]
        yield from table(("metric", "kind", "labels", "meaning"), sorted(rows))


def _metric(name: str, metric: Metric) -> Sequence[str]:
    """Its labels as it was made with them, or as its samples carry them."""
    used = (label for sample in metric.samples for label in sample.labels if label not in OF_THE_FORMAT)
    labels = getattr(metric, "_labelnames", None) or dict.fromkeys(used)
    return code(name), metric.type, ", ".join(map(code, labels)), said(name, metric.documentation)


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

    with tempfile.TemporaryDirectory() as place:
        store = SqliteStore(Path(place) / "registry.db")
        own: CollectorRegistry = RegistryMetrics(store, LeaseSweep(store, store.now).store_health).registry
        found = list(own.collect())
        store.close()
    return found


def _babysitter() -> Iterable[Metric]:
    """Return the metrics of a babysitter with every check enabled."""
    from svc.babysitter.lifecycle import LifecycleState
    from svc.babysitter.metrics import BabysitterMetrics

    snapshot, counts = Told(state=LifecycleState.RUNNING, process=None), Counter[Any]()
    engine_status = Told(check_seconds=0.0)
    monitor: Any = Told(snapshot=snapshot, config=Told(max_restarts=0), started=0.0, engine_status=engine_status)
    registrar: Any = Told(last_heartbeat=0.0, registered=True)
    hang_probe: Any = Told(counts=counts, last=Told(failures=0))
    limits: Any = Told(config=Told(probe="generate", max_memory=1), restarter=Told(counts=counts), memory=0)
    return BabysitterMetrics(monitor, registrar, hang_probe, limits).collect()


# Endpoints.


def http() -> Iterator[str]:
    from svc.registry.app import ROUTES
    from svc.registry.openapi import OPERATIONS

    yield "# HTTP endpoints\n"
    yield "## Of the registry\n"
    yield "`GET /openapi.json` has every parameter and every answer.\n"
    rows = [(method, code(path), access, said(path, OPERATIONS[name].summary)) for method, path, access, name in ROUTES]
    yield from table(("method", "path", "who may", "what it does"), rows)
    who = "; ".join(f"**{access}**: {words}" for access, words in WHO_MAY.items())
    yield f"{who}. [The registry](../REGISTRY.md) says more.\n"
    yield "## Of the router\n"
    yield "Its own; every other path and method goes to an instance.\n"
    yield from table(("method", "path", "what it does"), _views(_router_app()))
    yield "## Of the babysitter\n"
    yield "On the instance's port + 1.\n"
    yield from table(("method", "path", "what it does"), _views(_babysitter_app()))


def _views(app: Any) -> list[Sequence[str]]:
    found = []
    for rule in sorted(app.url_map.iter_rules(), key=str):
        if rule.endpoint == "static":
            continue
        words = said(str(rule), inspect.getdoc(app.view_functions[rule.endpoint]))
        methods = ", ".join(sorted(rule.methods - {"HEAD", "OPTIONS"}))
        found.append((methods, code(rule), " ".join(words.split())))
    return found


def _router_app() -> Any:
    from svc.router.app import create_app
    from svc.router.state import RouterState

    return create_app(RouterState(RouterSettings()))


def _babysitter_app() -> Any:
    from svc.babysitter import app

    nobody: Any = None  # nothing is asked of it
    return app.create_app(nobody, nobody, nobody, nobody)
