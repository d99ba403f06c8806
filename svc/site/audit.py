"""Reports to the registry what an operator did with a command, for `svc events --audit`."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

from svc.base.errors import SvcError, Unavailable
from svc.config.site import Site
from svc.protocol.event import OPERATOR_SOURCE, ROUTER_SOURCE
from svc.settings import Settings
from svc.site.access import registry_client
from svc.site.registry_access import with_registries
from svc.terminal.output import echo

TIMEOUT_SECONDS = 2.0
ROLLOUT_SERVICE = "svc"  # a reserved name: no service can have it


def record(settings: Settings, kind: str, service: str, message: str) -> None:
    """Report an event to the registry in `settings`.

    A failure of the report is no failure of the command, because the action has already been carried out. If a registry
    refuses the event, print that to stderr.
    """
    event = {"kind": kind, "service": service, "source": OPERATOR_SOURCE, "message": message}
    try:
        client = registry_client(settings)
        client.timeout = TIMEOUT_SECONDS
        client.report_events([event])
    except Unavailable:
        return
    except SvcError as error:
        echo(f"svc: the registry's events do not show this: {error.message}", err=True)


def record_key_change(site: Site, settings: Settings, kind: str, message: str) -> None:
    """Report a change of the API keys that the site's router reads.

    Without a write token, send the token with which the router reads the registry: a site with only a router may have
    no other.
    """
    settings = with_registries(site, settings)
    token_file = settings.registry.token_file or settings.router.registry_token_file
    registry = dataclasses.replace(settings.registry, token_file=token_file)
    record(dataclasses.replace(settings, registry=registry), kind, ROUTER_SOURCE, message)


@contextmanager
def recorded_rollout(settings: Settings, action: str) -> Iterator[None]:
    """Report the rollout in the block when it ends, with its result.

    `action` names the rollout, such as `svc apply`.
    """
    result = "failed"
    try:
        yield
        result = "done"
    except KeyboardInterrupt:
        result = "interrupted"
        raise
    except SvcError as error:
        result = f"stopped: {error.message.splitlines()[0]}"
        raise
    finally:
        record(settings, "rollout", ROLLOUT_SERVICE, f"{action}: {result}")
