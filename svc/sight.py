"""A look at a site that runs: supervisord's states, the parts' health, what the router would send requests to."""

from collections.abc import Collection, Iterable
from typing import Any

import requests

from svc import probe
from svc.generated import Part
from svc.readiness import Sight
from svc.supervision.control import Control

PATIENCE = 2.0  # seconds that an answer may take


def look(control: Control, parts: Iterable[Part], router: Part | None, well: Collection[str] = ()) -> Sight:
    """`well`: parts that were well before and are not asked again."""
    states = {name: process.state for name, process in control.processes().items()}
    return Sight(
        states,
        {part.name for part in parts if part.name in well or _is_well(part, states)},
        {s["name"]: s["models"] for s in services(router.own_url) if s["healthy"]} if router else {},
    )


def services(router_url: str) -> list[dict[str, Any]]:
    """The instances as the router has them; [] while it does not answer."""
    try:
        return requests.get(router_url + "/services", timeout=PATIENCE).json()["services"]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return []


def _is_well(part: Part, states: dict[str, str]) -> bool:
    """Nothing is asked that does not run yet."""
    return all(states.get(name) == "RUNNING" for name in part.programs) and probe.healthy(part.health_url, PATIENCE)
