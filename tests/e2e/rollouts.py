"""What tests of rollouts share: the pids of instances, and a stream that is long enough to be drained."""

from typing import Any

import requests

from tests.e2e.sites import Site, http
from tests.waiting import wait_until

BOTH = {"one-server", "two-server"}


def pids(site: Site, *names: str) -> dict[str, int]:
    return {name: site.pid(f"{name}:server") for name in names}


def long_stream(site: Site, seconds: int = 60) -> tuple[requests.Response, str]:
    """Start a stream that lasts at least `seconds`; return it and the service that sends it."""
    for name in BOTH:
        http.post(
            f"{site.service(name)['url']}/mock/behave", json={"tokens": 50 * seconds, "token_delay": 0.02}, timeout=5
        )
    streamed = site.chat(stream=True, max_tokens=5000)
    begun = wait_until(
        lambda: next((s["name"] for s in _services(site) if s["in_flight"]), ""), description="the stream"
    )
    for name in BOTH:
        http.post(f"{site.service(name)['url']}/mock/behave", json={"tokens": None, "token_delay": 0}, timeout=5)
    return streamed, begun


def _services(site: Site) -> list[dict[str, Any]]:
    return http.get(f"{site.router}/services", timeout=5).json()["services"]
