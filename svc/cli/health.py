"""`svc health`: whether what runs here can be used, for HEALTHCHECK and other programs that ask."""

from concurrent.futures import ThreadPoolExecutor

import click

from svc.base.errors import CommandError
from svc.cli.options import HERE
from svc.client import probe
from svc.site import supervisord_process
from svc.site.components import Component, read_components
from svc.terminal.output import echo

PATIENCE = 5.0  # seconds that an answer may take


@click.command()
def health() -> None:
    """Exit with 0 when every component that runs here can be used, else with 1 and a line for each that cannot.

    Asked are this machine's own components and nothing else: the registry's /health, the router's /readyz,
    each babysitter's /health, which is that of its instance. For a container's HEALTHCHECK and the
    like; `svc status` tells more.
    """
    supervisord = supervisord_process.find(HERE)
    if supervisord is None:
        raise CommandError("nothing runs here: no supervisord answers on var/supervisor.sock; `svc up` starts it")
    components = read_components(supervisord_process.conf_d(supervisord, HERE))
    with ThreadPoolExecutor(max(1, len(components))) as pool:
        answers = list(pool.map(_well, components))
    ill = [component for component, well in zip(components, answers, strict=True) if not well]
    if ill:
        raise CommandError("; ".join(f"{component.name}: no 200 from {component.health_url}" for component in ill))
    echo(f"well: {', '.join(component.name for component in components)}")


def _well(component: Component) -> bool:
    return probe.healthy(component.health_url, PATIENCE, verify=False)
