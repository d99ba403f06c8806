"""Which instances an operator's request is for."""

import pytest

from svc.base.errors import CommandError, NotFound
from svc.management.fleet import (
    EngineInstance,
    Fleet,
    Selection,
    build_fleet,
    from_entry,
    select,
    skip_reason,
    unreachable_reason,
    without_models,
)
from tests.unit.management.engines import engine
from tests.unit.router.examples import service


def babysitter(name: str) -> dict:
    return service(name) | {"metadata": {"type": "babysitter", "server": f"{name}-server"}}


@pytest.fixture
def replicas() -> Fleet:
    services = [
        babysitter("a"),
        service("a-server", "qwen"),
        service("b-server", "qwen", "llama", drained=True),
        service("c-server", status="starting"),
        service("broken-server", "qwen", url="ftp://h"),
    ]
    return build_fleet(services, [engine("solo", "qwen", static=True)])


def names(targets: list[EngineInstance]) -> list[str]:
    return [chosen.name for chosen in targets]


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(model="qwen"), ["a-server", "b-server", "solo"]),
        (Selection(model="llama"), ["b-server"]),
        (Selection(names=("b", "a-server", "a")), ["a-server", "b-server"]),
        (Selection(names=("solo",)), ["solo"]),
        (Selection(every=True), ["a-server", "b-server", "c-server", "solo"]),
    ],
)
def test_instances_are_chosen_by_model_or_name(replicas, selection, chosen):
    assert names(select(replicas, selection)) == chosen


def test_a_model_that_none_lists_is_an_error_with_those_there_are(replicas):
    with pytest.raises(CommandError, match="no instance lists the model 'qwem'; there are llama, qwen; .* qwen"):
        select(replicas, Selection(model="qwem"))
    with pytest.raises(CommandError, match="no instance lists a model"):
        select(build_fleet([]), Selection(every=True))


def test_a_wrong_name_among_good_ones_chooses_none(replicas):
    with pytest.raises(NotFound, match="did you mean b-server"):
        select(replicas, Selection(names=("a", "b-serve")))
    with pytest.raises(CommandError, match="broken-server is no instance that requests can be sent to"):
        select(replicas, Selection(names=("broken-server",)))


@pytest.mark.parametrize("status", ["starting", "stopping", "stopped", "failed"])
def test_an_instance_without_a_process_is_skipped_unless_it_is_named(status):
    assert skip_reason(engine("a", status=status), named=False) == f"it is {status}"
    assert skip_reason(engine("a", status=status), named=True) == ""


@pytest.mark.parametrize("status", ["running", "draining"])
def test_an_instance_that_serves_gets_the_request(status):
    drained = from_entry(service("a-server", status=status, drained=True))
    assert drained is not None
    assert skip_reason(drained, named=False) == ""


@pytest.mark.parametrize(
    ("host", "hostname", "registry_is_here", "reached"),
    [
        ("localhost", "gpu1", False, False),
        ("127.0.0.1", "gpu1", False, False),
        ("localhost", "here", False, True),
        ("localhost", "gpu1", True, True),
        ("10.0.0.5", "gpu1", False, True),
    ],
)
def test_another_machine_s_loopback_address_is_not_taken_for_this_one_s(host, hostname, registry_is_here, reached):
    entry = service("a-server", host=host, hostname=hostname)
    assert (unreachable_reason(entry, registry_is_here, "here") == "") is reached


def test_instances_that_list_no_model_yet_are_known(replicas):
    assert without_models(replicas) == ["c-server"]


@pytest.mark.parametrize("selection", [Selection(names=("solo",)), Selection(model="qwen"), Selection(every=True)])
def test_a_registration_does_not_replace_a_static_service_of_its_name(selection):
    impostor = service("solo", "qwen", url="http://10.6.6.6:1")
    [chosen] = select(build_fleet([impostor], [engine("solo", "qwen", static=True)]), selection)
    assert chosen.static
    assert "10.6.6.6" not in chosen.url
