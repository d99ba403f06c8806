"""`svc route`: show which instance a request would get, and why."""

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from svc.base.errors import CommandError
from svc.cli.operator_options import operator_options, router_operator
from svc.cli.options import complete_files, console
from svc.client.route_choice import ask_route
from svc.terminal.output import echo_json
from svc.terminal.route_lines import route_lines
from svc.terminal.screen import width_of

STDIN = "-"
NO_INSTANCE_CODES = ("service_unavailable", "model_not_found")
DEFAULT_HEADERS = {"Content-Type": "application/json"}


def _headers(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for value in values:
        name, colon, text = value.partition(":")
        if not (colon and name.strip() and value.isprintable()):
            raise click.BadParameter(f"{value!r} is no header; write it as 'Name: value'")
        headers[name.strip()] = text.strip()
    return headers


def _read_body(file: str | None, method: str) -> bytes:
    """Return the body from the file, or from stdin; empty if there is none."""
    if file is None:
        return b"" if method in ("GET", "DELETE", "HEAD") or sys.stdin.isatty() else sys.stdin.buffer.read()
    try:
        return sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        cure = f"; name a file with the request's body, or write: {_example(file)}"
        raise CommandError(f"{file}: cannot read it: {error.strerror}{cure}") from None


def _example(model: str) -> str:
    """Return the command that explains a request for the model, for operators who gave a model instead of a file."""
    return f"echo {shlex.quote(json.dumps({'model': model}))} | svc route"


def _cure(route: Mapping[str, Any]) -> str:
    """Return what to do if the router has no instance for the model; empty for any other error."""
    if route["model"] is None or route["error"]["code"] not in NO_INSTANCE_CODES:
        return ""
    return f"; 'svc doctor --model {shlex.quote(route['model'])}' shows why"


@click.command("route")
@click.argument("file", required=False, metavar="[FILE]", shell_complete=complete_files)
@click.option("-H", "--header", "headers", multiple=True, callback=_headers, metavar="'NAME: VALUE'", help="repeatable")
@click.option("--path", default="/v1/chat/completions", show_default=True, help="the path of the request")
@click.option("-X", "--method", default="POST", show_default=True, help="the method of the request")
@click.option("--json", "as_json", is_flag=True, help="for programs: the router's answer")
@operator_options
def command(
    file: str | None,
    headers: dict[str, str],
    path: str,
    method: str,
    as_json: bool,
    key_file: str | None,
    router_url: str | None,
) -> None:
    """Show which instance a request would get, and why.

    \b
      echo '{"model": "qwen", "messages": []}' | svc route -H 'X-Session-ID: 17'
      svc route request.json
      svc route -X GET --path /v1/responses/resp_1

    FILE has the request's body; without FILE, or with -, it is read from stdin. Nothing is sent to an
    instance, no turn is used up, and nothing is counted or remembered. Where a policy draws at random,
    the next request may get another instance. Exits with 1 if the request would get no instance now.

    \b
    --json prints the router's answer:
      method, path                 of the request
      requested_model, model       before and after aliases and fallbacks; null: none is named
      policy                       that chooses; "" if an object's owner decides alone
      session, session_source      the key of the session, and what names it; "" without a session
      object_id                    of the stored object that the request is about; "" if none is known
      instance                     the choice; null if there is none
      waits                        true if the request would wait for an instance
      why                          the reasons, a list of texts
      candidates                   of the model: name, in_flight, max_concurrency (0: unlimited),
                                   weight, cache_type, work (expected tokens in flight, or null),
                                   excluded (why it cannot get the request, or "")
      error                        that the request would get: status, message, type, param, code; or null
    """
    router, body = router_operator(router_url, key_file), _read_body(file, method.upper())
    route = ask_route(router, method.upper(), path, {**DEFAULT_HEADERS, **headers}, body)
    if as_json:
        echo_json(route, indent=2)
    else:
        out = console()
        for line in route_lines(route, width_of(out)):
            out.print_line(line)
    if error := route["error"]:
        raise CommandError(f"the request would get {error['status']}: {error['message']}{_cure(route)}")
    if route["instance"] is None:
        sys.exit(1)
