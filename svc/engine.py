"""`svc engine`: management of the engines themselves, at all replicas of a model or at named ones."""

import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from svc import upstream_keys
from svc.access import Access, explained, registry_options
from svc.errors import CommandError, SvcError
from svc.event import plain
from svc.fanout import Outcome, Request
from svc.listed import registered
from svc.management import Management, Result, by_models
from svc.options import HERE, settings
from svc.replicas import Fleet, Selection, fleet, select, without_models
from svc.router.static import read_static
from svc.router.table import Target
from svc.settings import Settings
from svc.spec.load import load_one

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PATH = re.compile(r"/[!-~]*")
MAX_LINE_CHARACTERS = 160


def _path(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not PATH.fullmatch(value):
        raise click.BadParameter(f"{value!r} is no path of a server; write it as /v1/load_lora_adapter")
    return value


def _body(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    """Return the bytes of the body as they are sent; they must be JSON."""
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
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path", callback=_path)
@click.option("--model", default="", metavar="M", help="at every instance that lists this model")
@click.option("--instance", "names", multiple=True, metavar="NAME", help="at this instance; may be repeated")
@click.option("--all", "every", is_flag=True, help="at every instance")
@click.option("--json", "body", callback=_body, metavar="TEXT|@FILE|-", help="the body; @FILE, or - for stdin")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=300, show_default=True, help="seconds, for each instance"
)
@click.option("--verbose", is_flag=True, help="whole answers instead of their first line")
@click.option("--format", "output", type=click.Choice(("text", "json")), default="text", help="json: for programs")
@click.option("--upstream-keys-file", metavar="FILE", help="the engines' own API keys  [default: the router's]")
@registry_options
def command(
    access: Access, method: str, path: str, model: str, names: tuple[str, ...], every: bool, body: bytes | None,
    timeout: float, verbose: bool, output: str, upstream_keys_file: str | None,
) -> None:  # fmt: skip
    """Send a management request to the engines themselves, past the router, which relays none.

    \b
      svc engine POST /v1/load_lora_adapter --model qwen \\
          --json '{"lora_name": "sql", "lora_path": "/adapters/sql"}'
      svc engine GET /version --all

    The instances come from the registry, and from the static services of this site's router. --model
    means every instance that lists it, drained ones too; of these, one that does not run (starting,
    stopped, failed) is skipped. --instance takes the instance's name, or that of its babysitter.

    After anything but GET and HEAD each instance's model list is read again; the command ends once the
    registry has what changed, so that the next request for a new model is routed.

    Exits with 0 when all instances answered 2xx, with 1 otherwise.

    \b
    --format json prints one object:
      ok         true when all answered 2xx
      instances  a list of objects: name, url, ok, status (null without an answer), reason (why there
                 is none), body (JSON, else text), models (after a change; null when unknown), note
    """
    site = settings(router={"upstream_keys_file": upstream_keys_file})
    client = access.client(read=True) if _has_registry(access, site) else None
    known = _fleet(client, site)
    selection = _selection(model, names, every, known)
    management = Management(known, client, _keys(site), site.router.upstream_ca)
    request = Request(method.upper(), path, body, timeout)
    results = management.run(request, select(known, selection), named=bool(names))
    if output == "json":
        click.echo(json.dumps({"ok": all(r.ok for r in results), "instances": [*map(_json, results)]}, indent=2))
    else:
        for line in _lines(results, verbose):
            click.echo(line)
        for name in without_models(known) if model else ():
            click.echo(f"svc: {name} starts and lists no model yet; if it will serve {model}, repeat it there", err=True)
    if any(not result.ok for result in results):
        raise CommandError(_failure(request, results))


def _has_registry(access: Access, site: Settings) -> bool:
    """Whether there is a registry to ask: a site of a router with static services alone has none."""
    named = access.registry_url or site.launch.registry_url or site.router.registry_url
    return bool(named) or site.launch.runs("registry") or not site.router.static_services


def _fleet(client: Any, site: Settings) -> Fleet:
    static = read_static(Path(site.router.static_services)) if site.router.static_services else []
    if client is None:
        return fleet([], static)
    with explained("list the instances", client, "is no registry"):
        listing = client.listing()
        return fleet(registered(listing.services, listing.url), static)


def _selection(model: str, names: Sequence[str], every: bool, known: Fleet) -> Selection:
    if bool(model) + bool(names) + every == 1:
        return Selection(model, names, every)
    models = ", ".join(known.models()) or "none"
    raise click.UsageError(plain(f"give one of --model M, --instance NAME and --all; the models are: {models}"))


def _keys(site: Settings) -> Callable[[Target], str]:
    """Return the lookup of an instance's own API key: that of its TOML here, else of upstream_keys_file."""
    file = site.router.upstream_keys_file
    keys = upstream_keys.load(Path(file)) if file else upstream_keys.UpstreamKeys()
    own = dict(_own_keys(site))
    return lambda target: own.get(target.name) or keys.find(target.name, target.models)


def _lines(results: Sequence[Result], verbose: bool) -> Iterator[str]:
    """One line for each instance, with --verbose followed by the whole answer; then the models."""
    width = max(len(result.target.name) for result in results)
    for result in results:
        yield f"{plain(result.target.name):{width}}  {_verdict(result)}".rstrip()
        if verbose:
            yield from (f"  {printable(line)}" for line in result.outcome.text().splitlines())
    groups = by_models(results)
    for models, names in groups.items():
        place = f" at {', '.join(names)}" if len(groups) > 1 else ""
        yield plain(f"models now{place}: {', '.join(models)}")
    for result in results:
        if result.models and result.models.problem:
            yield plain(f"{result.target.name}: {result.models.problem}")


def _verdict(result: Result) -> str:
    if result.skipped:
        return f"skipped  {plain(result.skipped)}"
    if not result.outcome.status:
        return f"failed  {plain(result.outcome.reason)}"
    return f"{result.outcome.status}  {_first_line(result.outcome)}"


def _first_line(outcome: Outcome) -> str:
    """Return the message of an error, else the first line of the answer."""
    answer = outcome.json()
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    text = message if isinstance(message, str) else next(iter(outcome.text().strip().splitlines()), "")
    line = plain(text)
    return line if len(line) <= MAX_LINE_CHARACTERS else f"{line[:MAX_LINE_CHARACTERS]}..."


def printable(line: str) -> str:
    """Return a line that does nothing to a terminal, with its blanks as they are."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)


def _json(result: Result) -> dict[str, Any]:
    outcome = result.outcome
    body = outcome.json()
    return {
        "name": result.target.name,
        "url": result.target.url,
        "ok": result.ok,
        "status": outcome.status or None,
        "reason": result.skipped or outcome.reason or None,
        "body": outcome.text() if body is None else body,
        "models": result.models and result.models.models,
        "note": (result.models and result.models.problem) or None,
    }


def _failure(request: Request, results: Sequence[Result]) -> str:
    """Return what did not succeed, and how to finish it."""
    done = [result.target.name for result in results if result.ok]
    failed = [result.target.name for result in results if not result.ok]
    text = f"{len(failed)} of {len(results)} instances did not answer 2xx: {', '.join(failed)}"
    if any(result.outcome.status in (401, 403) for result in results):
        text += "; an engine that wants its API key needs it in upstream_keys_file ([router] of config/svc.toml)"
    if not request.changes:
        return text
    words = ["svc", "engine", request.method, request.path, *(w for name in failed for w in ("--instance", name))]
    text += f"; when the cause is gone, finish with `{shlex.join(words)}` and the same --json"
    if done:
        text += f", or undo it at {', '.join(done)}: until then the answer depends on the instance that a request gets"
    return text
