"""`svc top`: show the router's current traffic, by model and by instance."""

import sys

import click

from svc.cli.options import console
from svc.cli.registry_options import Access, registry_options
from svc.site import access as addresses
from svc.site import traffic_watch
from svc.terminal import traffic_table

REGISTRY_TIMEOUT_SECONDS = 1.0  # short: without an answer, the traffic is shown without GPUs
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
@registry_options
def command(access: Access, every: float, count: int | None, sort: str, as_json: bool, router_url: str | None) -> None:
    """Show what the router does now, by model and by instance.

    The rates are requests, errors and tokens a second, averages since the previous output. FIRST is the
    mean time to the first token of streams; QUEUE counts requests that wait for an instance. The
    command reads the router's open /metrics, so it needs no key. With -n it exits with 1 if the router
    did not answer the last time.

    If hosts report GPUs to the registry, their memory, load and the instances that hold the memory are
    shown below. With --router-url, they are shown only if --registry-url is given, because that router
    may use another registry than the site.

    \b
    --json prints one object a line:
      time       Unix seconds
      url        the URL of the router
      models     by name: requests, errors, tokens (each a second), first_token (seconds, or
                 null), queue, instances (that get requests), asleep (whether a request wakes
                 one); "unknown": requests for a model that no instance has, "": requests that
                 name no model
      instances  by name: requests, errors (of attempts: a request may be tried at several),
                 tokens, first_token, in_flight, state (up, ejected, failing, asleep, or unused:
                 drained, starting, stopped, expired ...)
      gpus       by host, a list: index, name, memory_total and memory_used (bytes), utilization
                 (0 to 1), temperature, power, errors, held (bytes by instance), strangers
                 (processes of no instance)
    """
    url = addresses.router_url(access.settings(router_url)).split(",")[0]
    registry = access.client(read=True) if access.registry_url or not router_url else None
    if registry:
        registry.timeout = REGISTRY_TIMEOUT_SECONDS
    answered = traffic_watch.watch(url, every, count, sort, console(), as_json, registry)
    sys.exit(0 if answered else 1)
