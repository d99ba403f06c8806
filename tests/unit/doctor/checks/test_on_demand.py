"""Findings about requests that wait for an instance on demand."""

import dataclasses

import pytest

from svc.doctor.findings import WARNING
from tests.unit.doctor.sample_site import COMPONENTS, findings, sidecar

ON_DEMAND = tuple(dataclasses.replace(c, on_demand=c.name == "a") for c in COMPONENTS)


def found(state="asleep", waiting=2, oldest=30.0, reason="held by b (busy)", demand=True):
    wanted = {"waiting": waiting, "oldest": oldest, "hold": 0.0} if demand else None
    probe = sidecar("a", state=state, on_demand={"demand": wanted, "reason": reason})
    return findings(components=ON_DEMAND, instance_probes={"a": probe, "b": sidecar("b")}).get("wake.a")


def test_requests_that_wait_long_are_shown_with_the_reason():
    finding = found()
    assert (finding.severity, finding.fix) == (WARNING, "svc gpus")
    assert finding.summary == "a: 2 requests have waited 30 s for it to wake"
    assert finding.evidence == "held by b (busy)"
    assert found(waiting=1).summary == "a: a request has waited 30 s for it to wake"
    assert found(state="starting", reason=None).evidence == "it is starting"


@pytest.mark.parametrize(
    "more", [{"oldest": 5.0}, {"waiting": 0}, {"demand": False}, {"state": "running"}, {"state": "draining"}]
)
def test_a_short_wait_is_usual(more):
    assert found(**more) is None
