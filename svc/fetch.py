"""HTTP requests of the control plane, to this machine or its neighbours."""

from typing import Any

import requests
import urllib3


def fetch(method: str, url: str, timeout: float, **told: Any) -> requests.Response:
    """As requests.request, but deaf to the environment: no proxy, no .netrc, no redirect."""
    if told.get("verify") is False:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=timeout, allow_redirects=False, **told)
