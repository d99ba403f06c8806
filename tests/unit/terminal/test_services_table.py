"""What an operator reads of the registry's services."""

import pytest

from svc.base.errors import CommandError, NotFound
from svc.terminal import services_table

NOW = 1_700_000_000.0


def service(name: str = "qwen-server", **more) -> dict:
    metadata = {"type": "openai-api", "models": ["m"], **more.pop("metadata", {})}
    told = {
        "name": name,
        "host": "10.0.0.7",
        "port": 8100,
        "hostname": "gpu7",
        "url": "http://10.0.0.7:8100",
        "status": "running",
        "timestamp": "t",
        "last_heartbeat": NOW - 75,
        "lease_seconds": 90.0,
        "health_status": "healthy",
        "is_healthy": True,
        "drained": False,
        "weight": 1,
        "metadata": metadata,
    }
    return {**told, **more}


SITTER = service("qwen", metadata={"type": "babysitter", "server": "qwen-server"})
BOTH = {"qwen": SITTER, "qwen-server": service()}


def test_the_table_fits_80_columns_and_stands_under_its_heads():
    services = [
        service("a" * 100, models=[]),
        service("b", status="starting", host="h" * 60),
        service("c", metadata={"models": [f"model-{n}" for n in range(40)]}),
        SITTER,
    ]
    told = [line.plain for line in services_table.lines(services, NOW, 80)]
    assert max(len(line) for line in told if "a" * 20 not in line) <= 80
    head = told[0]
    row = next(line for line in told if line.startswith("qwen"))
    for title, cell in (("TYPE", "babysitter"), ("STATE", "healthy"), ("HEARD", "1m15s"), ("ADDRESS", "10.0.0.7:8100")):
        assert head.index(title) == row.index(cell)


def test_where_nothing_limits_it_an_address_is_in_its_row():
    (row,) = [
        line.plain for line in services_table.lines([service("b", host="h" * 60)], NOW, 10_000) if line.plain[0] == "b"
    ]
    assert row.endswith("h" * 60 + ":8100")


def test_a_row_has_the_colour_of_its_state():
    services = [service("a"), service("b", status="starting"), service("c", is_healthy=False)]
    assert [line.style for line in services_table.lines(services, NOW, 80) if line.plain[0] in "abc"] == [
        "",
        "yellow",
        "red",
    ]


def test_details_name_everything_but_what_is_for_programs():
    told = dict(services_table.details(service(metadata={"cache_type": "paged", "models_list": [{"id": "m"}]}), NOW))
    assert (told["type"], told["state"], told["heard"]) == ("instance", "healthy", "1m15s ago")
    assert (told["models"], told["cache_type"]) == ('["m"]', "paged")
    assert "models_list" not in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"last_heartbeat": NOW, "timestamp": "later", "health_status": "unknown"}, []),
        ({"drained": True, "is_healthy": False}, [("qwen-server", "healthy -> drained")]),
        ({"url": "http://x"}, [("qwen-server", "url: http://10.0.0.7:8100 -> http://x")]),
        ({"metadata": {"models": ["m", "n"]}}, [("qwen-server", "models: m -> m, n")]),
        ({"metadata": {"models": []}, "weight": 2}, [("qwen-server", "weight: 1 -> 2; models: m -> none")]),
        ({"metadata": {"tier": {"a": 1}}}, [("qwen-server", 'tier: none -> {"a": 1}')]),
    ],
)
def test_a_change_is_what_an_operator_would_call_one(more, told):
    assert list(services_table.changes({"qwen-server": service()}, {"qwen-server": service(**more)})) == told


def test_who_comes_and_who_goes_is_a_change():
    before, after = {"a": service("a")}, {"b": service("b", status="starting")}
    assert list(services_table.changes(before, after)) == [
        ("a", "removed"),
        ("b", "registered: starting, http://10.0.0.7:8100"),
    ]


def test_an_instance_is_meant_by_its_name_or_its_babysitters():
    assert services_table.instance("qwen-server", BOTH) == "qwen-server"
    assert services_table.instance("qwen", BOTH) == "qwen-server"
    assert services_table.instance("qwen", {"qwen-server": service()}) == "qwen-server"
    other = {"x": service("x", metadata={"type": "babysitter", "server": "y"}), "y": service("y"), "z": service("z")}
    assert services_table.instance("x", other) == "y"
    assert services_table.instance("z", other) == "z"


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [
        ("qwem-server", BOTH, "did you mean qwen-server?"),
        ("nothing-like-it", BOTH, "svc services list"),
        ("qwen", {"qwen": SITTER}, "qwen is a babysitter whose instance, qwen-server, is not registered"),
    ],
)
def test_a_name_that_means_none_is_refused_with_the_cure(name, services, message):
    with pytest.raises(NotFound, match=message.replace("?", r"\?")):
        services_table.instance(name, services)


@pytest.mark.parametrize("lacking", ["host", "status", "is_healthy", "drained", "url"])
def test_services_without_what_a_registry_says_are_not_a_registrys(lacking):
    entry = {key: value for key, value in service().items() if key != lacking}
    with pytest.raises(CommandError, match="is no registry"):
        services_table.registered([entry], "http://r")
