"""`svc wake`: wake instances that are asleep. The code that wakes them is in `svc.site.wake_targets`."""

import click

from svc.cli.name_completers import services_and_models
from svc.cli.operator_options import router_operator
from svc.cli.wake_options import wait_until, wake_options
from svc.site import wake_targets
from svc.terminal.output import echo


@click.command("wake")
@click.argument("names", nargs=-1, required=True, metavar="NAME|MODEL...", shell_complete=services_and_models)
@wake_options("awake")
def command(
    names: tuple[str, ...],
    wait: bool,
    timeout: float,
    key_file: str | None,
    token_file: str | None,
    router_url: str | None,
) -> None:
    """Wake an instance that is asleep, as a request for its model would.

    NAME is the name of an instance or of its babysitter, on any host. Of the instances of MODEL, the one
    that costs least to wake is woken. If it needs room, others that may make room for it do so. It makes
    no room for others itself until its wake_timeout has passed. With --wait, exits with 1 if one is not awake
    after --timeout.
    """
    router = router_operator(router_url, key_file, token_file)
    targets = wake_targets.find_targets(names, router.services(), with_models=True)
    for target in targets:
        echo(wake_targets.wake(router, target))
    if wait:
        interrupted = f"interrupted: {', '.join(names)}: still waking; `svc sleep` with the instance's name ends that"
        wait_until(wake_targets.is_awake, "awake", router, targets, timeout, interrupted)
