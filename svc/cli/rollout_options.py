"""The options that `svc apply` and `svc rollout restart` share."""

from collections.abc import Callable
from typing import Any

import click

from svc.cli.options import Seconds, delay_reasons
from svc.cli.registry_options import Access, registry_options
from svc.rollout.context import RolloutOptions
from svc.rollout.tasks import RolloutLimits

DEFAULTS = RolloutLimits()
OPTIONS = (
    click.option(
        "--router-url",
        metavar="URL",
        help="the router, or several separated by commas  [ROUTER_URL; default: the site's]",
    ),
    click.option("--allow-downtime", is_flag=True, help="also stop the last healthy instance of a model"),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=DEFAULTS.timeout,
        show_default=True,
        help="seconds in which each instance must be ready again",
    ),
    click.option(
        "--drain-timeout",
        type=click.FloatRange(min=0),
        default=DEFAULTS.drain_timeout,
        show_default=True,
        help="seconds after which requests in flight are cut",
    ),
    click.option(
        "--handover",
        type=Seconds(),
        metavar="TIME",
        help="time of a drain (30s) after which streams move to other instances that continue them  [default: never]",
    ),
    click.option(
        "--parallel",
        type=click.IntRange(min=1),
        default=DEFAULTS.parallel,
        show_default=True,
        help="instances out of service at once, never all of a model",
    ),
    click.option("--dry-run", is_flag=True, help="check everything and print what would be done; do nothing"),
)


def rollout_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a rollout; the function gets their values as the argument `options`."""

    def run(
        access: Access,
        router_url: str | None,
        parallel: int,
        drain_timeout: float,
        handover: float | None,
        timeout: float,
        allow_downtime: bool,
        dry_run: bool,
        **more: Any,
    ) -> Any:
        if handover is not None and handover >= drain_timeout:
            raise click.UsageError(
                f"--handover is {handover:g} s, and must be less than --drain-timeout ({drain_timeout:g} s), "
                "after which requests are cut"
            )
        limits = RolloutLimits(parallel, drain_timeout, timeout, allow_downtime, handover)
        return function(
            options=RolloutOptions(access.site_settings(router_url), limits, dry_run, delay_reasons), **more
        )

    run.__doc__, run.__name__ = function.__doc__, function.__name__
    # This attribute of a function contains the options that click's decorators have added so far.
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in OPTIONS:
        run = option(run)
    return registry_options(run)
