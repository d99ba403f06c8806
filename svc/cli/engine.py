"""`svc engine`: send a management request directly to the engines of a model or of some instances."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from svc.base.errors import CommandError
from svc.cli.name_completers import models, services
from svc.cli.options import HERE, complete_files, settings
from svc.cli.registry_options import Access, registry_options
from svc.client.registry import RegistryClient
from svc.management.engine_keys import engine_keys
from svc.management.engine_request import ManagementRequest
from svc.management.engines import Engines, Management
from svc.management.fleet import EngineInstance, Fleet, Selection, build_fleet, select, without_models
from svc.management.results import failure, lines, to_json
from svc.protocol.event import one_line
from svc.router.sources.static_services import read_static
from svc.settings import Settings
from svc.site.access import explaining_errors
from svc.terminal.output import echo, echo_json
from svc.terminal.services_table import require_registry_list

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PATH = re.compile(r"/[!-~]*")


def _path(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not PATH.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no path of a server; write it as /v1/load_lora_adapter")
    return value


def _body(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    """Return the bytes of the body, which must be JSON."""
    if value is None:
        return None
    if value == "-":
        data = sys.stdin.buffer.read()
    elif value.startswith("@"):
        try:
            data = Path(value[1:]).read_bytes()
        except OSError as error:
            raise click.BadParameter(f"{value[1:]}: cannot read it: {error.strerror}") from None
    else:
        data = value.encode()
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not JSON: {error}; quote it for your shell, or give @FILE") from None
    return data


@click.command("engine")
@click.argument("method", metavar="METHOD", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path", callback=_path)
@click.option("--model", default="", metavar="M", help="at every instance that lists this model", shell_complete=models)
@click.option(
    "--instance",
    "names",
    multiple=True,
    metavar="NAME",
    help="at this instance; may be repeated",
    shell_complete=services,
)
@click.option("--all", "every", is_flag=True, help="at every instance")
@click.option("--json", "body", callback=_body, metavar="TEXT|@FILE|-", help="the body; @FILE, or - for stdin")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=300, show_default=True, help="seconds, for each instance"
)
@click.option("--verbose", is_flag=True, help="whole answers instead of their first line")
@click.option("--format", "output", type=click.Choice(("text", "json")), default="text", help="json: for programs")
@click.option(
    "--upstream-keys-file",
    metavar="FILE",
    help="the file of upstream API keys  [default: the router's]",
    shell_complete=complete_files,
)
@registry_options
def command(
    access: Access,
    method: str,
    path: str,
    model: str,
    names: tuple[str, ...],
    every: bool,
    body: bytes | None,
    timeout: float,
    verbose: bool,
    output: str,
    upstream_keys_file: str | None,
) -> None:
    """Send a management request to engines, without the router.

    \b
      svc engine POST /v1/load_lora_adapter --model qwen \\
          --json '{"lora_name": "sql", "lora_path": "/adapters/sql"}'
      svc engine GET /version --all

    The instances come from the registry, and from the static services of this site's router. --model
    selects every instance that lists the model, drained ones too, but skips those that do not run
    (starting, stopped, failed). --instance takes the name of an instance or of its babysitter.

    After any method but GET and HEAD, each instance's model list is read again. The command ends when
    the registry has the new lists, so that the router routes the next request for a new model.

    An engine that wants an API key gets the key in upstream_keys_file, or the key that its TOML at
    this site names.

    Exits with 0 when all instances answered 2xx, with 1 otherwise.

    \b
    --format json prints one object:
      ok         true when all answered 2xx
      instances  a list of objects: name, url, ok, status (null without an answer), reason (why there
                 is none), body (JSON, else text), models (after a change; null when unknown), note
    """
    site_settings = settings(router={"upstream_keys_file": upstream_keys_file})
    client = access.client(read=True) if _has_registry(access, site_settings) else None
    engines = Engines(engine_keys(HERE, site_settings), site_settings.router.upstream_ca)
    fleet = _fleet(client, engines.discover(_static_instances(site_settings)))
    instances = select(fleet, _selection(model, names, every, fleet))
    request = ManagementRequest(method.upper(), path, body, timeout)
    results = Management(fleet, client, engines).run(request, instances, named=bool(names))
    if output == "json":
        echo_json(to_json(results), indent=2)
    else:
        for line in lines(results, verbose):
            echo(line)
        for name in without_models(fleet) if model else ():
            echo(f"svc: {name} starts and lists no model yet; if it will serve {model}, repeat it there", err=True)
    if any(not result.ok for result in results):
        raise CommandError(failure(request, results))


def _has_registry(access: Access, site_settings: Settings) -> bool:
    """Return whether the site uses a registry. A site whose router has only static services uses none."""
    configured = access.registry_url or site_settings.launch.registry_url or site_settings.router.registry_url
    return bool(configured) or site_settings.launch.runs("registry") or not site_settings.router.static_services


def _static_instances(site_settings: Settings) -> list[EngineInstance]:
    file = site_settings.router.static_services
    return [
        EngineInstance(t.name, t.url, t.models, t.babysitter_url, t.status, True, t.discovers_models)
        for t in (read_static(Path(file)) if file else ())
    ]


def _fleet(client: RegistryClient | None, static: Sequence[EngineInstance]) -> Fleet:
    if client is None:
        return build_fleet([], static)
    with explaining_errors("list the instances", client, "is no registry"):
        listing = client.list_services()
        return build_fleet(require_registry_list(listing.services, listing.url), static)


def _selection(model: str, names: Sequence[str], every: bool, fleet: Fleet) -> Selection:
    if bool(model) + bool(names) + every == 1:
        return Selection(model, names, every)
    models = ", ".join(fleet.models()) or "none"
    raise click.UsageError(one_line(f"give one of --model M, --instance NAME and --all; the models are: {models}"))
