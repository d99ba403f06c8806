"""`svc top`: what the router does now, by model and by instance."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import click
from rich.text import Text

from svc.base.errors import SvcError
from svc.cli.options import console, settings
from svc.client.router import RouterClient
from svc.client.router_metrics import RouterScrape
from svc.site import access
from svc.terminal import traffic_table
from svc.terminal.console import Console
from svc.terminal.output import echo, echo_json
from svc.terminal.screen import Screen, width_of
from svc.terminal.traffic_table import Frame

URL = "where the router is  [ROUTER_URL; default: the site's]"


@click.command("top")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="seconds")
@click.option("-n", "count", type=click.IntRange(1), help="so many times  [default: until Ctrl-C]")
@click.option(
    "-s", "--sort", type=click.Choice(traffic_table.SORTS), default="name", show_default=True, help="the largest first"
)
@click.option("--json", "as_json", is_flag=True, help="one object a line, for programs")
@click.option("--router-url", metavar="URL", help=URL)
def command(every: float, count: int | None, sort: str, as_json: bool, router_url: str | None) -> None:
    """Show what the router does now: requests, errors and tokens a second, by model and by instance.

    FIRST is the mean time to the first token of streams; QUEUE are requests that wait for an
    instance. Rates are those of the time between two lines. It reads the router's open /metrics, so
    it needs no key. With -n it exits with 1 where the last line had no answer.

    \b
    --json prints one object a line:
      time       Unix seconds
      url        the router's
      models     by name: requests, errors, tokens (each a second), first_token (seconds, or
                 null), queue, instances (that get requests); "unknown": those that ask for a
                 model that nobody has, "": that name none
      instances  by name: requests, errors (of attempts: a request may be tried at several),
                 tokens, first_token, in_flight, state (up, ejected, or unused: drained,
                 starting, stopped, expired ...)
    """
    url = access.router_url(settings(launch={"router_url": router_url})).split(",")[0]
    out = console()
    with ExitStack() as stack:
        screen = None
        if out.is_terminal and not as_json:
            screen = stack.enter_context(Screen(out))
            screen.show([Text(f"measuring for {every:g} s")])
        for number, frame in enumerate(frames(url, every), 1):
            show(frame, url, sort, out, screen, as_json)
            if number == count:
                sys.exit(1 if isinstance(frame, str) else 0)


def frames(url: str, every: float) -> Iterator[Frame | str]:
    """What lies between two looks, or why there is nothing to tell."""
    router = RouterClient(url)
    before = _scrape(router)
    while True:
        time.sleep(every)
        now = _scrape(router)
        if isinstance(now, str):
            yield now
        elif isinstance(before, str):
            yield before
        else:
            yield traffic_table.frame(before, now)
        before = now


def _scrape(router: RouterClient) -> RouterScrape | str:
    """Return the router's metrics, or what is wrong with the program that answers at its URL."""
    try:
        return router.scrape()
    except SvcError as error:
        return error.message


def show(frame: Frame | str, url: str, sort: str, out: Console, screen: Screen | None, as_json: bool) -> None:
    if isinstance(frame, str):
        lines = [Text(f"{frame}; trying again, or give the router's address with --router-url")]
        if as_json:
            echo(lines[0].plain, err=True)
            return
    elif as_json:
        echo_json({"time": frame.time, "url": url, **told(frame)})
        return
    else:
        lines = list(traffic_table.lines(frame, url, sort, width_of(out), out.height if screen else None))
    if screen is not None:
        screen.show(lines)
    else:
        for line in lines:
            out.print_line(line)


def told(frame: Frame) -> dict[str, Any]:
    models, instances = frame.models, frame.instances
    return {
        "models": {row.name: {**row.rates._asdict(), "queue": row.load, "instances": int(row.last)} for row in models},
        "instances": {row.name: {**row.rates._asdict(), "in_flight": row.load, "state": row.last} for row in instances},
    }
