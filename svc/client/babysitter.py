"""Read what a babysitter knows about its instance."""

from typing import Any

import requests

from svc.base.http import fetch

INFO_PATH = "/info"
MODELS_PATH = "/models"


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
