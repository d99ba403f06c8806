from svc.doctor.findings import WARNING
from tests.unit.doctor.sample_site import answer, findings, router


def metrics(requests: int) -> str:
    return f"# TYPE svc_router_usage_unwritten_requests gauge\nsvc_router_usage_unwritten_requests {requests}.0\n"


def test_usage_that_cannot_be_written_is_a_warning():
    finding = findings(router=router(metrics=answer({}, text=metrics(17))))["usage.unwritten"]
    assert (finding.severity, finding.fix) == (WARNING, "svc usage")
    assert "17 requests" in finding.evidence


def test_a_router_that_writes_its_usage_or_counts_none_has_no_finding():
    for text in (metrics(0), ""):
        assert "usage.unwritten" not in findings(router=router(metrics=answer({}, text=text)))
