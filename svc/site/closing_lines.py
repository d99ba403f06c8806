"""The last lines that a successful `svc up` prints: files that svc did not render, and commands to try. Pure."""

import dataclasses
import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from svc.client.router import UNKNOWN_MODEL
from svc.site.components import Component
from svc.site.curl_access import CurlAccess

KEY_HEADER = '-H "Authorization: Bearer $KEY"'


@dataclasses.dataclass(frozen=True, slots=True)
class ReadySite:
    """What the closing lines contain. `svc` is the command that runs svc from the user's current directory."""

    seconds: float
    svc: str
    router: CurlAccess | None = None  # None: no router runs here
    model: str = ""  # a model to try; "" if there is none
    needs_key: bool = False  # whether the router requires an API key
    foreign_files: Sequence[str] = ()


def closing_lines(site: ReadySite) -> Iterator[str]:
    """Yield a line for each file that runs but was not rendered by svc, then commands to try."""
    for path in site.foreign_files:
        yield f"{path}: runs as well; not made by svc render, so not waited for"
    yield f"All is ready after {site.seconds:.1f} s. Try:"
    if site.router and site.model:
        body = json.dumps({"model": site.model, "messages": [{"role": "user", "content": "Hello"}]})
        if site.needs_key:
            yield f"  KEY=$({site.svc} keys add NAME)     an API key for a client called NAME"
        key = f"{KEY_HEADER} " if site.needs_key else ""
        call = shlex.join(["curl", *site.router.options, f"{site.router.url}/v1/chat/completions"])
        yield f"  {call} {key}-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    if site.router:
        yield f"  {site.router.url}/ui     the page: models, instances and requests, live"
    yield f"  {site.svc} status     what runs, and how it is"
    yield f"  {site.svc} down       stop everything"
    yield "  tail -f logs/*.log"


def instances_to_try(
    components: Sequence[Component], started: Collection[str], routed: Mapping[str, Sequence[str]]
) -> list[Component]:
    """Return the instances that the router uses; those that were just started come first.

    `started` contains the names of components that were just started. `routed` maps the service name of each instance
    that the router uses to its models.
    """
    used = [component for component in components if component.service_name in routed]
    return sorted(used, key=lambda component: component.name not in started)


def needs_key(routed: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the router requires an API key. Such a router lists its instances without their models."""
    return any(UNKNOWN_MODEL in models for models in routed.values())
