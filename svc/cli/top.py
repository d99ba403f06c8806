"""`svc top`: show the router's current traffic, by model and by instance."""

import sys

import click

from svc.cli.options import console, settings
from svc.site import access, traffic_watch
from svc.terminal import traffic_table

URL = "the router  [ROUTER_URL; default: the site's]"


@click.command("top")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="seconds between two outputs"
)
@click.option("-n", "count", type=click.IntRange(1), help="the number of outputs  [default: until Ctrl-C]")
@click.option(
    "-s",
    "--sort",
    type=click.Choice(traffic_table.SORTS),
    default="name",
    show_default=True,
    help="the column to sort by",
)
@click.option("--json", "as_json", is_flag=True, help="for programs: one object a line")
@click.option("--router-url", metavar="URL", help=URL)
def command(every: float, count: int | None, sort: str, as_json: bool, router_url: str | None) -> None:
    """Show what the router does now, by model and by instance.

    The rates are requests, errors and tokens a second, averages since the previous output. FIRST is the
    mean time to the first token of streams; QUEUE counts requests that wait for an instance. The
    command reads the router's open /metrics, so it needs no key. With -n it exits with 1 if the router
    did not answer the last time.

    \b
    --json prints one object a line:
      time       Unix seconds
      url        the URL of the router
      models     by name: requests, errors, tokens (each a second), first_token (seconds, or
                 null), queue, instances (that get requests); "unknown": requests for a model
                 that no instance has, "": requests that name no model
      instances  by name: requests, errors (of attempts: a request may be tried at several),
                 tokens, first_token, in_flight, state (up, ejected, or unused: drained,
                 starting, stopped, expired ...)
    """
    url = access.router_url(settings(launch={"router_url": router_url})).split(",")[0]
    answered = traffic_watch.watch(url, every, count, sort, console(), as_json)
    sys.exit(0 if answered else 1)
