"""The options of `svc wake` and `svc sleep`, and the wait until their instances are awake or asleep."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from svc.base.signals import KeptInterrupt
from svc.cli.operator_options import operator_options, token_file_option
from svc.cli.options import Seconds, console
from svc.client.router_operator import RouterOperator
from svc.site import wake_targets
from svc.site.wake_targets import WakeTarget
from svc.terminal.output import echo
from svc.terminal.progress import waiting

DEFAULT_TIMEOUT_SECONDS = 600.0


def wake_options(state: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the operator's options, and --wait and --timeout for instances to be in `state`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function = token_file_option(operator_options(function))
        function = click.option(
            "--timeout",
            type=Seconds(),
            default=DEFAULT_TIMEOUT_SECONDS,
            metavar="TIME",
            help="with --wait: at most this long (600, 10m)",
        )(function)
        return click.option("--wait", is_flag=True, help=f"wait until they are {state}")(function)

    return add


def wait_until(
    is_done: Callable[[Mapping[str, Any]], bool],
    state: str,
    router: RouterOperator,
    targets: Iterable[WakeTarget],
    timeout: float,
    interrupted: str,
) -> None:
    """Show what each target waits for until `is_done` is true of it. Print `interrupted` if the user ends the wait.

    Raise CommandError if a target is not in the state after `timeout` seconds.
    """
    try:
        with KeptInterrupt() as interrupt, waiting(console()) as progress:
            wake_targets.wait(router, targets, is_done, state, timeout, progress, interrupt.sleep)
    except KeyboardInterrupt:
        echo(interrupted)
        raise
