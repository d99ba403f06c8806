"""`svc drain`: send instances no new requests. The code that drains is in `svc.rollout.drain`."""

from functools import partial

import click

from svc.base.signals import KeptInterrupt
from svc.cli.options import Seconds, console, settings
from svc.cli.registry_options import Access, names_argument, registry_options
from svc.rollout.drain import drain, hand_over, wait_until_idle
from svc.site.access import router_url as site_router_url
from svc.terminal.output import echo
from svc.terminal.progress import waiting


@click.command("drain")
@names_argument
@click.option("--wait", is_flag=True, help="wait until no request is in flight at the router")
@click.option("--timeout", type=float, default=600, show_default=True, help="with --wait: at most this many seconds")
@click.option(
    "--handover",
    type=Seconds(),
    metavar="TIME",
    help="as --wait, and after this time (30s) streams move to other instances that continue them",
)
@click.option("--router-url", metavar="URL", help="with --wait: the router  [ROUTER_URL; default: the site's]")
@registry_options
def command(
    access: Access,
    names: tuple[str, ...],
    wait: bool,
    timeout: float,
    handover: float | None,
    router_url: str | None,
) -> None:
    """Send an instance no new requests.

    The instance finishes the requests that have begun. NAME is its name or that of its babysitter. It
    stays drained through restarts of itself, its babysitter and the registry, until `svc
    undrain`. After --wait it can be stopped without failing a request; --wait exits with 1 if requests
    are still in flight after --timeout. With --handover 30s, streams that still run after 30 seconds move
    to other instances, which continue their answers.
    """
    if handover is not None and handover >= timeout:
        raise click.UsageError(
            f"--handover is {handover:g} s, and must be less than --timeout ({timeout:g} s), "
            "after which the command ends"
        )
    drained = drain(access.client(), names)
    for name in drained:
        echo(f"{name} is drained: it gets nothing new")
    if wait or handover is not None:
        url = site_router_url(settings(launch={"router_url": router_url}))
        begin = partial(hand_over, access.client())
        try:
            with KeptInterrupt() as interrupt, waiting(console()) as progress:
                wait_until_idle(drained, url, timeout, progress, interrupt.sleep, handover, begin)
        except KeyboardInterrupt:
            echo(f"interrupted: {', '.join(drained)}: still drained; `svc undrain {' '.join(drained)}` ends that")
            raise
