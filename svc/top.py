"""`svc top`: what the router does now, by model and by instance."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import click
import requests
from rich.console import Console
from rich.text import Text

from svc import figures
from svc.access import router_of
from svc.fetch import fetch
from svc.figures import Look
from svc.options import console, settings
from svc.screen import Screen, width_of

PATIENCE = 2.0  # seconds that an answer may take
URL = "where the router is  [ROUTER_URL; default: the site's]"


@click.command("top")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="seconds")
@click.option("-n", "count", type=click.IntRange(1), help="so many times  [default: until Ctrl-C]")
@click.option(
    "-s", "--sort", type=click.Choice(figures.SORTS), default="name", show_default=True, help="the largest first"
)
@click.option("--json", "as_json", is_flag=True, help="one object a line, for programs")
@click.option("--router-url", metavar="URL", help=URL)
def command(every: float, count: int | None, sort: str, as_json: bool, router_url: str | None) -> None:
    """Show what the router does now: requests, errors and tokens a second, by model and by instance.

    FIRST is the mean time to the first token of streams; QUEUE are requests that wait for an
    instance. Rates are those of the time between two lines. It reads the router's open /metrics, so
    it needs no key.

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
    url = router_of(settings(launch={"router_url": router_url}))
    out = console()
    with ExitStack() as stack:
        screen = None
        if out.is_terminal and not as_json:
            screen = stack.enter_context(Screen(out))
            screen.show([Text(f"measuring for {every:g} s")])
        for number, frame in enumerate(frames(url, every), 1):
            show(frame, url, sort, out, screen, as_json)
            if number == count:
                return


def frames(url: str, every: float) -> Iterator[figures.Frame | None]:
    """What lies between two looks; None where the router does not answer."""
    before = look(url)
    while True:
        time.sleep(every)
        now = look(url)
        if before is not None and now is not None:
            yield figures.frame(before, now)
        else:
            yield None
        before = now


def look(url: str) -> Look | None:
    try:
        answer = fetch("GET", f"{url}/metrics", PATIENCE, verify=False)
        return figures.read(answer.text, time.time()) if answer.ok else None
    except (requests.RequestException, ValueError):
        return None


def show(
    frame: figures.Frame | None, url: str, sort: str, out: Console, screen: Screen | None, as_json: bool
) -> None:  # fmt: skip
    if frame is None:
        lines = [Text(f"the router does not answer at {url}; trying again, or give its address with --router-url")]
        if as_json:
            click.echo(lines[0].plain, err=True)
            return
    elif as_json:
        click.echo(json.dumps({"time": frame.time, "url": url, **told(frame)}))
        return
    else:
        lines = list(figures.lines(frame, url, sort, width_of(out), out.height if screen else None))
    if screen is not None:
        screen.show(lines)
    else:
        for line in lines:
            out.print(line, soft_wrap=True)


def told(frame: figures.Frame) -> dict[str, Any]:
    models, instances = frame.models, frame.instances
    return {
        "models": {row.name: {**row.rates._asdict(), "queue": row.load, "instances": int(row.last)} for row in models},
        "instances": {row.name: {**row.rates._asdict(), "in_flight": row.load, "state": row.last} for row in instances},
    }
