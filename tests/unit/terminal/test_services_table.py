"""The table of the registry's services, the details of one, and what changed."""

import pytest

from svc.base.errors import CommandError
from svc.terminal import services_table
from tests.unit.client.listed_services import BABYSITTER, NOW, service


def test_the_table_fits_80_columns_and_is_aligned_with_its_heads():
    services = [
        service("a" * 100, models=[]),
        service("b", status="starting", host="h" * 60),
        service("c", metadata={"models": [f"model-{n}" for n in range(40)]}),
        BABYSITTER,
    ]
    output = [line.plain for line in services_table.service_lines(services, NOW, 80)]
    assert max(len(line) for line in output if "a" * 20 not in line) <= 80
    head = output[0]
    row = next(line for line in output if line.startswith("qwen"))
    for title, cell in (("TYPE", "babysitter"), ("STATE", "healthy"), ("HEARD", "1m15s"), ("ADDRESS", "10.0.0.7:8100")):
        assert head.index(title) == row.index(cell)


def test_without_a_limit_an_address_is_in_its_row():
    (row,) = [
        line.plain
        for line in services_table.service_lines([service("b", host="h" * 60)], NOW, 10_000)
        if line.plain[0] == "b"
    ]
    assert row.endswith("h" * 60 + ":8100")


def test_a_row_has_the_colour_of_its_state():
    services = [service("a"), service("b", status="starting"), service("c", is_healthy=False)]
    assert [line.style for line in services_table.service_lines(services, NOW, 80) if line.plain[0] in "abc"] == [
        "",
        "yellow",
        "red",
    ]


def test_details_say_whether_a_drained_instance_hands_over_its_streams():
    drained = {"drained": True, "is_healthy": False}
    moving = dict(services_table.service_details(service(**drained, handover=True), NOW))
    assert (moving["state"], moving["handover"]) == ("drained", "routers move its streams to other instances")
    assert "handover" not in dict(services_table.service_details(service(**drained), NOW))


def test_details_omit_only_what_is_for_programs():
    output = dict(
        services_table.service_details(service(metadata={"cache_type": "paged", "models_list": [{"id": "m"}]}), NOW)
    )
    assert (output["type"], output["state"], output["heard"]) == ("instance", "healthy", "1m15s ago")
    assert (output["models"], output["cache_type"]) == ('["m"]', "paged")
    assert "models_list" not in output


@pytest.mark.parametrize(
    ("more", "output"),
    [
        ({"last_heartbeat": NOW, "timestamp": "later", "health_status": "unknown"}, []),
        ({"drained": True, "is_healthy": False}, [("qwen-server", "healthy -> drained")]),
        ({"url": "http://x"}, [("qwen-server", "url: http://10.0.0.7:8100 -> http://x")]),
        ({"metadata": {"models": ["m", "n"]}}, [("qwen-server", "models: m -> m, n")]),
        ({"metadata": {"models": []}, "weight": 2}, [("qwen-server", "weight: 1 -> 2; models: m -> none")]),
        ({"metadata": {"tier": {"a": 1}}}, [("qwen-server", 'tier: none -> {"a": 1}')]),
    ],
)
def test_only_changes_that_matter_to_an_operator_are_listed(more, output):
    assert list(services_table.service_changes({"qwen-server": service()}, {"qwen-server": service(**more)})) == output


def test_a_new_and_a_removed_service_are_changes():
    before, after = {"a": service("a")}, {"b": service("b", status="starting")}
    assert list(services_table.service_changes(before, after)) == [
        ("a", "removed"),
        ("b", "registered: starting, http://10.0.0.7:8100"),
    ]


@pytest.mark.parametrize("lacking", ["host", "status", "is_healthy", "url"])
def test_a_list_without_a_registrys_fields_is_refused(lacking):
    entry = {key: value for key, value in service().items() if key != lacking}
    with pytest.raises(CommandError, match="is no registry"):
        services_table.require_registry_list([entry], "http://r")
