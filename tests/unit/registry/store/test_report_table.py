"""Room for reports in memory."""

from svc.protocol.gpu_report import GpuReport
from svc.registry.leases import owner
from svc.registry.store.report_table import ReportTable
from tests.unit.registry.services import NOW, service


def test_a_further_host_has_no_room_until_a_report_is_too_old():
    table: ReportTable[GpuReport] = ReportTable(limit=2)

    def put(name: str, now: float) -> bool:
        return table.put(name, GpuReport(hostname=name, tool="nvidia-smi"), service(name), owner.OPERATOR, now)

    assert [put("a", NOW), put("b", NOW + 10), put("c", NOW + 11)] == [True, True, False]
    assert put("a", NOW + 12), "its own report is replaced"
    assert put("c", NOW + 26)
    assert [name for name, _, _ in table.current(NOW + 26)] == ["a", "c"]
