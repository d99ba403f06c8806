"""`svc sleep`: put instances on demand to sleep. The code that does so is in `svc.site.wake_targets`."""

import click

from svc.cli.name_completers import services
from svc.cli.operator_options import router_operator
from svc.cli.wake_options import wait_until, wake_options
from svc.site import wake_targets
from svc.terminal.output import echo


@click.command("sleep")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=services)
@wake_options("asleep")
def command(
    names: tuple[str, ...],
    wait: bool,
    timeout: float,
    key_file: str | None,
    token_file: str | None,
    router_url: str | None,
) -> None:
    """Put an instance on demand to sleep, so that its GPUs are free.

    NAME is the name of an instance or of its babysitter, on any host. It gets no new requests, finishes
    those that it has begun, and sleeps. The next request for its model wakes it again; `svc drain`
    prevents that. With --wait, exits with 1 if one is not asleep after --timeout.
    """
    router = router_operator(router_url, key_file, token_file)
    targets = wake_targets.find_targets(names, router.services(), with_models=False)
    for target in targets:
        echo(wake_targets.put_to_sleep(router, target))
    if wait:
        interrupted = (
            f"interrupted: {', '.join(names)}: falls asleep when its requests have ended; `svc wake NAME` ends that"
        )
        wait_until(wake_targets.is_asleep, "asleep", router, targets, timeout, interrupted)
