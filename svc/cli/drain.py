"""What an operator does to services: `svc drain`, `svc undrain`, `svc remove`."""

import time
from collections.abc import Callable, Mapping, Sequence

import click

from svc.base.errors import CommandError
from svc.cli.access import Access, registry_options
from svc.cli.options import console, settings
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.rollout.observation import requests_in_flight
from svc.site import access as site_access
from svc.site.access import explained
from svc.terminal import services_table
from svc.terminal.output import echo
from svc.terminal.progress import Waiting, waiting

LOOK_EVERY = 0.2  # seconds
names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...")


@click.command()
@names_argument
@click.option("--wait", is_flag=True, help="until no request is in flight at the router")
@click.option("--timeout", type=float, default=600, show_default=True, help="with --wait: seconds, at most")
@click.option("--router-url", metavar="URL", help="with --wait: the router  [ROUTER_URL; default: the site's]")
@registry_options
def drain(access: Access, names: tuple[str, ...], wait: bool, timeout: float, router_url: str | None) -> None:
    """Give an instance nothing new; what it has begun, it finishes.

    NAME is the instance's, or that of its babysitter. It stays drained through restarts of itself,
    its babysitter and the registry, until `svc undrain`. With --wait it may be stopped afterwards
    without failing a request; exits with 1 when there still are some after --timeout.
    """
    client = access.client()
    drained = _each("drain", names, client, services_table.instance, client.drain)
    for name in drained:
        echo(f"{name} is drained: it gets nothing new")
    if wait:
        _idle(drained, site_access.router_url(settings(launch={"router_url": router_url})), timeout)


@click.command()
@names_argument
@registry_options
def undrain(access: Access, names: tuple[str, ...]) -> None:
    """Give a drained instance requests again, as soon as it is healthy.

    NAME is the instance's, or that of its babysitter.
    """
    client = access.client()
    for name in _each(
        "undrain", names, client, services_table.instance, lambda name: client.drain(name, drained=False)
    ):
        echo(f"{name} is not drained any more")


@click.command()
@names_argument
@registry_options
def remove(access: Access, names: tuple[str, ...]) -> None:
    """Take a service out of the registry, for one that is gone for good.

    While its babysitter is heard of, that takes the registry's token, and it registers again within a
    heartbeat: stop it first, or drain it.
    """
    client = access.client()
    for name in _each("remove", names, client, services_table.known, client.deregister):
        echo(f"{name} is removed")


def _each(
    verb: str,
    names: Sequence[str],
    client: RegistryClient,
    meant: Callable[[str, Mapping[str, services_table.Told]], str],
    act: Callable[[str], object],
) -> list[str]:
    """Acts on what each name means; on none if one means nothing."""
    with explained(f"{verb} {', '.join(names)}", client):
        services = {service["name"]: service for service in client.services()}
        found = list(dict.fromkeys(meant(name, services) for name in names))
        for name in found:
            act(name)
    return found


def _idle(names: Sequence[str], router_url: str, timeout: float) -> None:
    """Waits until the router has nothing in flight for these; raises CommandError after `timeout` seconds."""
    end = time.monotonic() + timeout
    if RouterClient(router_url).instance_loads() is None:
        raise CommandError(f"the router does not answer at {router_url}; give its address with --router-url")
    left = list(names)
    with waiting(console()) as progress:
        while left := _busy(left, router_url, progress):
            if time.monotonic() > end:
                raise CommandError(
                    f"{', '.join(left)}: requests in flight after {timeout:g} s, and it stays drained; "
                    "wait again, or stop it and cut them"
                )
            time.sleep(LOOK_EVERY)


def _busy(names: Sequence[str], router_url: str, progress: Waiting) -> list[str]:
    """Those that have requests in flight, or may get some: the router has not heard yet."""
    seen, left = [RouterClient(router_url).instance_loads()], []
    for name in names:
        count = requests_in_flight(name, seen)
        if count == 0:
            progress.done(name, "nothing in flight")
        else:
            progress.show(name, "no answer" if count is None else f"{count} in flight")
            left.append(name)
    return left
