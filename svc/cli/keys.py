"""`svc keys`: add, change, show, list and revoke API keys of the router."""

import contextlib
import datetime
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from svc.base.errors import CommandError, SvcError
from svc.cli.group import CommandGroup
from svc.cli.key_options import key_changes, policy_options
from svc.cli.name_completers import keys
from svc.cli.options import HERE, keys_file_of_site, settings
from svc.config import router_keys
from svc.config.router_key_changes import add_key, change_key, discard_key, find_key, revoke_key
from svc.config.router_key_entry import FIELDS, KeyEntry, check_name
from svc.site import supervisord_process
from svc.site.audit import record_key_change
from svc.site.program_groups import unapplied_keys_file
from svc.terminal.output import echo, echo_json
from svc.terminal.table import aligned_lines

DIGEST_DIGITS = 8  # only so many digits at the start of a SHA-256 are shown
LAST_COLUMNS = ("sha256", "note")
SHOWN_FIELDS = sorted(FIELDS, key=lambda field: LAST_COLUMNS.index(field.name) if field.name in LAST_COLUMNS else -1)
file_option = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="TOML",
    help="the file of keys  [default: the router's keys_file, else var/keys.toml]",
)


@click.group("keys", cls=CommandGroup)
def command() -> None:
    """Add, change, show, list and revoke API keys of the router.

    The router requires keys once their file is configured: keys_file under [router] in
    config/svc.toml, or ROUTER_KEYS_FILE. It reads the file again within a second of a change.
    """


@command.command()
@click.argument("name")
@policy_options
@file_option
def add(name: str, file: Path | None, **options: Any) -> None:
    """Make a key and print its secret. It is shown only now, because the file keeps only the secret's SHA-256.

    Logs and metrics show the key as NAME. Only the secret goes to stdout. Without the option for a limit, the key has
    no such limit.
    """
    _check_name(name)
    changes = key_changes(_now(), **options)
    path, router_reads_it = keys_file_of_site(file)
    if path.parent == HERE.var:
        HERE.make_var()
    secret = add_key(path, name, changes)
    try:
        echo(secret)
    except OSError as error:  # the secret was not printed, so the key cannot be used
        discard_key(path, name)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that no flush fails at exit
        raise CommandError(f"cannot write the secret to stdout: {error.strerror}; no key was added") from None
    echo(f"{path}: key {name!r} added. This is the only time that its secret is shown.", err=True)
    echo("Send it as `Authorization: Bearer SECRET` or as `x-api-key: SECRET`.", err=True)
    if hint := _hint(path, router_reads_it):
        echo(hint, err=True)
    entry = find_key(path, name)
    given = [f"{field} {_cell(_value(entry, field))}" for field in changes]
    _record(router_reads_it, "key-added", f"{name}{': ' if given else ''}{', '.join(given)}")


@command.command("set", epilog="For example: svc keys set ci --tokens-per-minute 50000 --concurrency none")
@click.argument("name", shell_complete=keys)
@policy_options
@file_option
def set_key(name: str, file: Path | None, **options: Any) -> None:
    """Change a key; its secret stays. An option that is not given changes nothing; `none` removes a
    limit, and sets share and priority to the default.

    The router applies the change within a second, and what the key has used stays counted.
    """
    changes = key_changes(_now(), **options)
    if not changes:
        raise click.UsageError("nothing to change; give at least one option")
    path, router_reads_it = keys_file_of_site(file)
    before, after = change_key(path, name, changes)
    fields = [field for field in changes if getattr(before, field) != getattr(after, field)]
    if not fields:
        echo(f"{path}: key {name!r} has these values already", err=True)
        return
    texts = [f"{field}: {_cell(_value(after, field))} (was {_cell(_value(before, field))})" for field in fields]
    for text in texts:
        echo(f"{path}: key {name!r}: {text}", err=True)
    _record(router_reads_it, "key-changed", f"{name}: {', '.join(texts)}")


@command.command()
@click.argument("name", shell_complete=keys)
@click.option("--json", "as_json", is_flag=True, help="for programs: an object")
@file_option
def show(name: str, as_json: bool, file: Path | None) -> None:
    """Show all that is set for one key, and the start of the SHA-256 of its secret."""
    path, _ = keys_file_of_site(file)
    row = _row(name, find_key(path, name))
    if as_json:
        echo_json(row, indent=2)
    else:
        for line in aligned_lines([(field, _cell(value)) for field, value in row.items()]):
            echo(line)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="for programs: an object with a list `keys`")
@file_option
def list_keys(as_json: bool, file: Path | None) -> None:
    """Show every key: name, time of creation, limits, whether it is an operator's, start of its SHA-256, note.

    Tokens, share, priority, models, expiry and front have a column if any key sets them.
    """
    path, router_reads_it = keys_file_of_site(file)
    entries = router_keys.read(path) if path.exists() else {}
    rows = [_row(name, entry) for name, entry in sorted(entries.items())]
    if as_json:
        echo_json({"keys": rows}, indent=2)
    elif rows:
        columns = {"name": "NAME"} | _columns(entries.values())
        heads = tuple(columns.values())
        for row in rows:
            if (expires := entries[row["name"]].expires) and expires <= _now():
                row["expires"] += " (expired)"
        for line in aligned_lines([heads, *(tuple(_cell(row[field]) for field in columns) for row in rows)]):
            echo(line)
        if router_reads_it and (hint := _hint(path, router_reads_it)):
            echo(hint, err=True)
    elif path.exists() or not router_reads_it:
        echo(f"{path}: no keys; make one with `svc keys add NAME`", err=True)
    else:
        echo(f"{path}: no such file; make the first key with `svc keys add NAME`, or copy the file back", err=True)


@command.command()
@click.argument("name", shell_complete=keys)
@file_option
def revoke(name: str, file: Path | None) -> None:
    """Revoke a key: the router refuses it within a second. Its requests in flight finish."""
    path, router_reads_it = keys_file_of_site(file)
    revoke_key(path, name)
    echo(f"{path}: key {name!r} revoked", err=True)
    _record(router_reads_it, "key-revoked", name)


def _record(router_reads_it: bool, kind: str, message: str) -> None:
    """Report the change to the registry, if the site's router reads the file."""
    if router_reads_it:
        record_key_change(HERE, settings(), kind, message)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def _check_name(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise click.UsageError(f"NAME: {error}") from None


def _hint(path: Path, router_reads_it: bool) -> str:
    """Return the step after which the router requires these keys; "" if it requires them already or does not run."""
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


def _row(name: str, entry: KeyEntry) -> dict[str, Any]:
    return {"name": name} | {field.name: _value(entry, field.name) for field in SHOWN_FIELDS}


def _value(entry: KeyEntry, field: str) -> Any:
    value = getattr(entry, field)
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value[:DIGEST_DIGITS] if field == "sha256" else value


def _columns(entries: Iterable[KeyEntry]) -> dict[str, str]:
    """Return the fields that the list shows, with their headings; most are shown only if an entry sets them."""
    entries = list(entries)
    return {
        field.name: field.metadata["heading"]
        for field in SHOWN_FIELDS
        if field.metadata["is_always_shown"] or any(getattr(entry, field.name) != field.default for entry in entries)
    }


def _cell(value: Any) -> str:
    if value is None or value is False or value in ((), ""):
        return "-"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return "yes" if value is True else str(value)
