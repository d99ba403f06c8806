"""`svc usage`: show what keys, users and models have used."""

import time
from pathlib import Path

import click

from svc.base.errors import CommandError, Forbidden, SvcError, Unauthorized
from svc.cli.operator_options import operator_headers, token_file_option
from svc.cli.options import HERE, complete_files, settings
from svc.config.site import USAGE_FILE
from svc.protocol.usage import (
    DEFAULT_DIMENSIONS,
    UsageReport,
    as_dict,
    parse_dimensions,
    summed,
    total_of,
)
from svc.terminal.output import echo, echo_block, echo_json


def _by(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    try:
        return parse_dimensions(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _time(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    from svc.base.local_time import parse_time

    try:
        return None if value is None else parse_time(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("usage")
@click.option(
    "--by",
    default=",".join(DEFAULT_DIMENSIONS),
    show_default=True,
    callback=_by,
    metavar="NAMES",
    help="what to sum by: some of key, user, model, day and hour, separated by commas",
)
@click.option(
    "--since", default="today", show_default=True, callback=_time, metavar="TIME", help="2026-12-01, 24h, 7d, today"
)
@click.option("--until", callback=_time, metavar="TIME", help="the same  [default: now]")
@click.option("--json", "as_json", is_flag=True, help="for programs: an object with `rows` and `total`")
@click.option("--csv", "as_csv", is_flag=True, help="for spreadsheets: a line with the names, then one for each row")
@click.option(
    "--router", "urls", multiple=True, metavar="URL", help="a router; several are summed  [ROUTER_URL; default: own]"
)
@click.option("--key-file", metavar="FILE", help="file with an operator's key", shell_complete=complete_files)
@token_file_option
def command(
    by: tuple[str, ...],
    since: float,
    until: float | None,
    as_json: bool,
    as_csv: bool,
    urls: tuple[str, ...],
    key_file: str | None,
    token_file: str | None,
) -> None:
    """Show what keys, users and models have used.

    \b
      svc usage --by key --since 30d
      svc usage --by day,model --since 2026-12-01 --csv > december.csv
      svc usage --router http://a:8000 --router http://b:8000

    Tokens are those that engines report; where an answer reports none, they are estimated, and
    ESTIMATED has their part. FAILED counts requests that got an error or an answer that broke off.
    STREAMED is the time that streams took, and QUEUED the time that requests waited for an instance.
    Days are those of the router's time zone.

    Without --router the site's own router answers; if it does not run, or does not know this user as
    an operator, its file var/usage.db is read.

    \b
    --json prints an object:
      since, until, by    of the request; times in Unix seconds
      rows                requests, failed, prompt, cached, completion, estimated (tokens),
                          stream_seconds, queue_seconds, and the fields in `by`
      total               the same of all rows together
      problem             why the rows are not complete; "" if they are
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: give one of them")
    end = time.time() + 1 if until is None else until
    report = _report(urls, since, end, by, operator_headers(key_file, token_file))
    if as_json:
        rows = [as_dict(row, by) for row in report.rows]
        total = as_dict(total_of(report.rows), ())
        echo_json(
            {"since": since, "until": end, "by": by, "rows": rows, "total": total, "problem": report.problem}, indent=2
        )
    else:
        _print(report, by, as_csv)
    if report.problem:
        echo(f"svc: not complete: {report.problem}", err=True)


def _print(report: UsageReport, by: tuple[str, ...], as_csv: bool) -> None:
    from svc.terminal.usage_table import has_others, usage_csv, usage_lines

    if as_csv:
        echo_block(usage_csv(report.rows, by))
    elif report.rows:
        for line in usage_lines(report.rows, by):
            echo(line)
        if has_others(report.rows):
            echo("(other): users and models beyond the number that a router counts one by one", err=True)
    elif not report.problem:
        echo("nothing was used in this time", err=True)


def _report(
    urls: tuple[str, ...], since: float, until: float, by: tuple[str, ...], headers: dict[str, str]
) -> UsageReport:
    from svc.client.router_usage import fetch_usage
    from svc.site.access import checked_urls, router_url

    routers = checked_urls(",".join(urls), "router", 8000).split(",") if urls else router_url(settings()).split(",")[:1]
    try:
        reports = [fetch_usage(url, since, until, by, headers) for url in routers]
    except SvcError as error:
        if urls:
            raise
        return _from_file(routers[0], since, until, by, error)
    rows = [row for report in reports for row in report.rows]
    problem = "; ".join(report.problem for report in reports if report.problem)
    return UsageReport(since=since, until=until, by=list(by), rows=summed(rows, by), problem=problem)


def _from_file(url: str, since: float, until: float, by: tuple[str, ...], error: SvcError) -> UsageReport:
    """Return the sums from the file of the site's router. `error` is why the router did not answer."""
    import sqlite3

    from svc.client.router import RouterClient
    from svc.router.usage.usage_file import read_rows

    path = Path(settings().router.usage_file or HERE.var / USAGE_FILE)
    if not path.exists():
        raise error
    try:
        rows = read_rows(path, by, since, until)
    except (OSError, sqlite3.Error) as reason:
        raise CommandError(f"{path}: cannot read the usage: {reason}; {error.message}") from None
    problem = ""
    if isinstance(error, (Unauthorized, Forbidden)) and (missing := RouterClient(url).unwritten_usage()):
        problem = (
            f"{path}: the router cannot write it, and has {missing} requests in its memory only; `svc logs router`"
        )
    return UsageReport(since=since, until=until, by=list(by), rows=summed(rows, by), problem=problem)
