"""`svc wake`: wake instances that are asleep. The code that wakes them is in `svc.site.wakes`."""

import click

from svc.base.signals import KeptInterrupt
from svc.cli.name_completers import services_and_models
from svc.cli.operator_options import operator_options, router_operator
from svc.cli.options import Seconds, console
from svc.site import wakes
from svc.terminal.output import echo
from svc.terminal.progress import waiting

DEFAULT_TIMEOUT_SECONDS = 600.0


@click.command("wake")
@click.argument("names", nargs=-1, required=True, metavar="NAME|MODEL...", shell_complete=services_and_models)
@click.option("--wait", is_flag=True, help="wait until they are awake")
@click.option(
    "--timeout",
    type=Seconds(),
    default=DEFAULT_TIMEOUT_SECONDS,
    metavar="TIME",
    help="with --wait: at most this long (600, 10m)",
)
@operator_options
def command(names: tuple[str, ...], wait: bool, timeout: float, key_file: str | None, router_url: str | None) -> None:
    """Wake an instance that is asleep, as a request for its model would.

    NAME is the name of an instance or of its babysitter, on any host. Of the instances of MODEL, the one
    that costs least to wake is woken. If it needs room, others that may make room for it do so. It makes
    no room for others itself until its wake_timeout has passed. With --wait, exits with 1 if one is not awake
    after --timeout.
    """
    router = router_operator(router_url, key_file)
    targets = wakes.find_targets(names, router.services(), with_models=True)
    for target in targets:
        echo(wakes.wake(router, target))
    if not wait:
        return
    try:
        with KeptInterrupt() as interrupt, waiting(console()) as progress:
            wakes.wait(router, targets, wakes.is_awake, "awake", timeout, progress, interrupt.sleep)
    except KeyboardInterrupt:
        echo(f"interrupted: {', '.join(names)}: still waking; `svc sleep NAME` ends that")
        raise
