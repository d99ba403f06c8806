"""Checks whether the router can write the file in which it counts what keys and users use."""

from collections.abc import Iterator

from svc.client.router_metrics import unwritten_usage
from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding


def check(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the router counts requests in memory only, because it cannot write the file."""
    router = facts.router
    requests = unwritten_usage(router.metrics.text) if router is not None else 0
    if router is not None and requests:
        yield Finding(
            "usage.unwritten",
            WARNING,
            f"{router.url}: the router cannot write what keys and users use",
            f"the usage of {requests} requests is in its memory only, and is lost if the router ends; no request fails",
            first_step="read the reason in the router's log, or run",
            fix="svc usage",
        )
