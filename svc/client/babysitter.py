"""Read what a babysitter knows about its instance, and ask it to wake the instance."""

from collections.abc import Mapping
from typing import Any

import requests

from svc.base.http import fetch

INFO_PATH = "/info"
MODELS_PATH = "/models"
WAKE_PATH = "/wake"


def read_info(url: str, timeout: float) -> dict[str, Any] | None:
    """Return the content of /info of the babysitter at `url`, or None if it does not answer."""
    try:
        info = fetch("GET", url + INFO_PATH, timeout).json()
    except (requests.RequestException, ValueError):
        return None
    return info if isinstance(info, dict) else None


def read_models(url: str, timeout: float) -> list[str]:
    """Return the models that the instance of the babysitter at `url` lists; [] if the babysitter does not answer."""
    try:
        return [str(model["id"]) for model in fetch("GET", url + MODELS_PATH, timeout).json()["data"]]
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return []


def post_wake(url: str, demand: Mapping[str, object], api_key: str, timeout: float) -> bool:
    """Ask the babysitter at `url` to wake its instance; return False if it does not answer, or refuses.

    The demand lapses after seconds, so it is sent again until the instance is awake.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        return fetch("POST", url + WAKE_PATH, timeout, json=dict(demand), headers=headers).ok
    except requests.RequestException:
        return False
