"""`svc sleep`: put instances on demand to sleep. The code that does so is in `svc.site.wakes`."""

import click

from svc.base.signals import KeptInterrupt
from svc.cli.name_completers import services
from svc.cli.operator_options import operator_options, router_operator
from svc.cli.options import Seconds, console
from svc.site import wakes
from svc.terminal.output import echo
from svc.terminal.progress import waiting

DEFAULT_TIMEOUT_SECONDS = 600.0


@click.command("sleep")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=services)
@click.option("--wait", is_flag=True, help="wait until they are asleep")
@click.option(
    "--timeout",
    type=Seconds(),
    default=DEFAULT_TIMEOUT_SECONDS,
    metavar="TIME",
    help="with --wait: at most this long (600, 10m)",
)
@operator_options
def command(names: tuple[str, ...], wait: bool, timeout: float, key_file: str | None, router_url: str | None) -> None:
    """Put an instance on demand to sleep, so that its GPUs are free.

    NAME is the name of an instance or of its babysitter, on any host. It gets no new requests, finishes
    those that it has begun, and sleeps. The next request for its model wakes it again; `svc drain`
    prevents that. With --wait, exits with 1 if one is not asleep after --timeout.
    """
    router = router_operator(router_url, key_file)
    targets = wakes.find_targets(names, router.services(), with_models=False)
    for target in targets:
        echo(wakes.put_to_sleep(router, target))
    if not wait:
        return
    try:
        with KeptInterrupt() as interrupt, waiting(console()) as progress:
            wakes.wait(router, targets, wakes.is_asleep, "asleep", timeout, progress, interrupt.sleep)
    except KeyboardInterrupt:
        echo(f"interrupted: {', '.join(names)}: falls asleep when its requests have ended; `svc wake NAME` ends that")
        raise
