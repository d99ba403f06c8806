import datetime

import msgspec
import pytest

from svc.config.router_key_entry import KeyEntry
from svc.router.proxy.poison_list import PoisonedBody
from svc.router.telemetry.statistics import UNKNOWN_MODEL, Statistics
from svc.router.workers.messages import (
    Evidence,
    KeyEntries,
    Observation,
    OwnRequest,
    OwnResponse,
    PublishedTable,
    Snapshot,
    Sync,
    WorkerReport,
    decode,
    encode,
)
from tests.unit.router.examples import target
from tests.unit.router.telemetry.records import record


def statistics() -> Statistics:
    """Return statistics in which every count is above zero."""
    counts = Statistics()
    usage = b'{"prompt_tokens":9,"completion_tokens":4}'
    counts.record_request(record(key="ci"), 0.5, usage, "m")
    counts.record_request(record(end="cut", status=200), None, b"", "m")
    counts.record_request(record(model="gemma", status=404, end="refused"), None, b"", UNKNOWN_MODEL)
    counts.record_tokens("a", "m", 4, first_token=0.5)
    instance = counts.instances["a"]
    instance.requests, instance.errors, instance.answered, instance.ejections, instance.seconds = 3, 1, 2, 1, 4.5
    return counts


def fields(counts: object) -> object:
    """Return all that counts consist of, as plain values."""
    if isinstance(counts, dict):
        return {key: fields(value) for key, value in counts.items()}
    names = getattr(counts, "__slots__", None)
    return counts if names is None else {name: fields(getattr(counts, name)) for name in names if name != "bounds"}


def test_a_report_arrives_as_it_was_sent():
    sent = WorkerReport(
        slot=2,
        sync=7,
        observations=[Observation(Evidence.FAILURE, "a", "Connection refused"), Observation(Evidence.SUCCESS, "b")],
        events=[("poisoned", "a", "why")],
        poisoned=[PoisonedBody(b"\x00\xff", 12, 99.5)],
        poison_counts={"ci": 3},
        retries=4,
        unlisted_model_requested=True,
        statistics=statistics(),
        idle_connections=5,
        handovers=[("a", "moving", 2)],
    )
    received = decode(encode(sent), WorkerReport)
    assert fields(received.statistics) == fields(sent.statistics)
    received.statistics = sent.statistics
    assert received == sent


def test_received_statistics_count_on():
    received = decode(encode(WorkerReport(slot=1, statistics=statistics())), WorkerReport).statistics
    received.record_request(record(key="new", status=503, end="failed"), 0.5, b'{"completion_tokens":4}', "new model")
    received.record_tokens("new instance", "m", 4, first_token=0.5)
    received.add(statistics())
    assert (received.keys, received.instances["a"].requests) == ({"ci": 2, "new": 1}, 6)
    assert sum(received.models["m"].time_to_first_token.counts) == 3
    assert received.models["new model"].statuses == {503: 1}


def test_a_snapshot_arrives_as_it_was_sent():
    table = PublishedTable(
        (target("a", "m", "n", weight=3, key="secret", metadata={"max_concurrency": 2}), target("b", secure=True)),
        frozenset({"a"}),
    )
    created = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    keys = {"ci": KeyEntry("00" * 32, created, 60, 4, operator=True, models=("a", "b*"), expires=created)}
    sent = Snapshot(
        ready=True,
        table_number=12,
        table=msgspec.Raw(encode(table)),
        trials={"b": 13},
        keys_number=7,
        keys=msgspec.Raw(encode(keys)),
        poisoned=(PoisonedBody(b"\x01", 1, 2.0),),
        retry_after=9,
    )
    received = decode(encode(sent), Snapshot | Sync)
    received_table = decode(received.table, PublishedTable)
    assert received_table == table
    assert received_table.targets[0].authorization == b"\r\nAuthorization: Bearer secret"
    assert decode(received.keys, KeyEntries) == keys
    assert msgspec.structs.replace(received, table=sent.table, keys=sent.keys) == sent


@pytest.mark.parametrize(
    "message",
    [
        Sync(3),
        OwnRequest({"PATH_INFO": "/stats/\xe9", "HTTP_X": ""}, b"\x00\xff"),
        OwnResponse("200 OK", [("Set-Cookie", "a"), ("Set-Cookie", "b")], b"\xff", streams=True),
        b"data: {}\n\n",
        True,
    ],
)
def test_other_messages_arrive_as_they_were_sent(message: object):
    kind = Snapshot | Sync if isinstance(message, Sync) else type(message)
    assert decode(encode(message), kind) == message


@pytest.mark.parametrize("data", [b"", encode([1, 2]), encode(Sync(1))[:-1], encode(OwnResponse("200 OK", []))])
def test_what_is_no_message_of_the_kind_is_an_error(data: bytes):
    with pytest.raises(msgspec.DecodeError):
        decode(data, Snapshot | Sync)
