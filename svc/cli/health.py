"""`svc health`: whether what runs here can be used, for HEALTHCHECK and other programs that ask."""

from concurrent.futures import ThreadPoolExecutor

import click

from svc.base.errors import CommandError
from svc.cli.options import HERE
from svc.client import probe
from svc.site import components, supervisord_process
from svc.site.components import Part
from svc.terminal.output import echo

PATIENCE = 5.0  # seconds that an answer may take


@click.command()
def health() -> None:
    """Exit with 0 when every part that runs here can be used, else with 1 and a line for each that cannot.

    Asked are this machine's own parts and nothing else: the registry's /health, the router's /readyz,
    each babysitter's /health, which is that of its instance. For a container's HEALTHCHECK and the
    like; `svc status` tells more.
    """
    supervisord = supervisord_process.find(HERE)
    if supervisord is None:
        raise CommandError("nothing runs here: no supervisord answers on var/supervisor.sock; `svc up` starts it")
    parts = components.read(supervisord_process.conf_d(supervisord, HERE))
    with ThreadPoolExecutor(max(1, len(parts))) as pool:
        answers = list(pool.map(_well, parts))
    ill = [part for part, well in zip(parts, answers, strict=True) if not well]
    if ill:
        raise CommandError("; ".join(f"{part.name}: no 200 from {part.health_url}" for part in ill))
    echo(f"well: {', '.join(part.name for part in parts)}")


def _well(part: Part) -> bool:
    return probe.healthy(part.health_url, PATIENCE, verify=False)
