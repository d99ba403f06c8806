"""`svc keys`: add, list and revoke API keys of the router."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from svc.base.errors import CommandError, SvcError
from svc.cli.group import CommandGroup
from svc.cli.name_completers import keys
from svc.cli.options import HERE, keys_file_of_site
from svc.config import router_keys
from svc.config.router_key_changes import add_key, discard_key, revoke_key
from svc.config.router_key_entry import check_name, check_note
from svc.site import supervisord_process
from svc.site.program_groups import unapplied_keys_file
from svc.terminal.output import echo, echo_json
from svc.terminal.table import aligned_lines

DIGEST_DIGITS = 8  # number of digits at the start of the SHA-256 that are shown
HEAD = ("NAME", "CREATED", "PER MINUTE", "AT ONCE", "OPERATOR", "SHA-256", "NOTE")

COUNT = click.IntRange(min=1)
file_option = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="TOML",
    help="the file of keys  [default: the router's keys_file, else var/keys.toml]",
)


@click.group("keys", cls=CommandGroup)
def command() -> None:
    """Add, list and revoke API keys of the router.

    The router requires keys once their file is configured: keys_file under [router] in
    config/svc.toml, or ROUTER_KEYS_FILE. It reads the file again within a second of a change.
    """


@command.command()
@click.argument("name")
@click.option(
    "--requests-per-minute",
    type=COUNT,
    metavar="N",
    help="requests that the key may send a minute  [default: no limit]",
)
@click.option(
    "--concurrency", type=COUNT, metavar="N", help="requests that it may have in flight at once  [default: no limit]"
)
@click.option("--operator", is_flag=True, help="may send management requests to instances: any path and method")
@click.option("--note", default="", metavar="TEXT", help="what or whom the key is for")
@file_option
def add(
    name: str, requests_per_minute: int | None, concurrency: int | None, operator: bool, note: str, file: Path | None
) -> None:
    """Make a key and print its secret. It is shown only now, because the file keeps only the secret's SHA-256.

    Logs and metrics show the key as NAME. Only the secret goes to stdout.
    """
    _check_argument("NAME", check_name, name)
    _check_argument("--note", check_note, note)
    path, router_reads_it = keys_file_of_site(file)
    if path.parent == HERE.var:
        HERE.make_var()
    secret = add_key(path, name, requests_per_minute, concurrency, operator, note)
    try:
        echo(secret)
    except OSError as error:  # the secret was not printed, so the key is useless
        discard_key(path, name)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush of stdout at exit would fail
        raise CommandError(f"cannot write the secret to stdout: {error.strerror}; no key was added") from None
    echo(f"{path}: key {name!r} added. This is the only time that its secret is shown.", err=True)
    echo("Send it as `Authorization: Bearer SECRET` or as `x-api-key: SECRET`.", err=True)
    if hint := _hint(path, router_reads_it):
        echo(hint, err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="for programs: an object with a list `keys`")
@file_option
def list_keys(as_json: bool, file: Path | None) -> None:
    """Show every key: name, time of creation, limits, whether it is an operator's, start of its SHA-256, note."""
    path, router_reads_it = keys_file_of_site(file)
    entries = router_keys.read(path) if path.exists() else {}
    rows = [_row(name, entry) for name, entry in sorted(entries.items())]
    if as_json:
        echo_json({"keys": rows}, indent=2)
    elif rows:
        for line in aligned_lines([HEAD, *(tuple(_cell(value) for value in row.values()) for row in rows)]):
            echo(line)
        if router_reads_it and (hint := _hint(path, router_reads_it)):
            echo(hint, err=True)
    else:
        echo(f"{path}: no keys; make one with `svc keys add NAME`", err=True)


@command.command()
@click.argument("name", shell_complete=keys)
@file_option
def revoke(name: str, file: Path | None) -> None:
    """Revoke a key: the router refuses it within a second. Its requests in flight finish."""
    path, _ = keys_file_of_site(file)
    revoke_key(path, name)
    echo(f"{path}: key {name!r} revoked", err=True)


def _check_argument(argument: str, rule: Callable[[str], object], value: str) -> None:
    try:
        rule(value)
    except ValueError as error:
        raise click.UsageError(f"{argument}: {error}") from None


def _hint(path: Path, router_reads_it: bool) -> str:
    """Return what is left to do until the router requires these keys; "" if it requires them or does not run."""
    if not router_reads_it:
        return _setting_hint(path)
    with contextlib.suppress(SvcError):  # no supervisord answers
        supervisord = supervisord_process.find(HERE)
        if supervisord and unapplied_keys_file(supervisord, str(path)):
            return (
                f"{path}: configured, and not applied yet: the running router does not ask for these keys; `svc apply`"
            )
    return ""


def _setting_hint(path: Path) -> str:
    return (
        f"The router of this site does not read this file: set keys_file = {json.dumps(str(path))} "
        "under [router] in config/svc.toml, or ROUTER_KEYS_FILE, then `svc apply`."
    )


def _row(name: str, entry: router_keys.KeyEntry) -> dict[str, Any]:
    return {
        "name": name,
        "created": entry.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "requests_per_minute": entry.requests_per_minute,
        "concurrency": entry.concurrency,
        "operator": entry.operator,
        "sha256": entry.sha256[:DIGEST_DIGITS],
        "note": entry.note,
    }


def _cell(value: Any) -> str:
    if value is None or value is False:
        return "-"
    return "yes" if value is True else str(value)
