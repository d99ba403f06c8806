import msgspec
import pytest

from svc.protocol.service import Service
from svc.router.balance.target import Target, from_service, with_lost_memory
from tests.unit.router.examples import service, target


def from_registry(**changes: object) -> Target | None:
    return from_service(msgspec.convert(service("x", "m", **changes), Service))


def test_a_target_is_made_of_a_registration():
    instance = from_registry(
        url="https://h:8443/", weight=3, status="starting", drained=True, metadata={"cache_type": "paged"}
    )
    assert instance is not None
    assert (instance.host, instance.port, instance.secure, instance.url) == ("h", 8443, True, "https://h:8443")
    assert (instance.weight, instance.models, instance.cache_type) == (3, ("m",), "paged")
    assert not instance.accepts_requests()


@pytest.mark.parametrize(
    ("changes", "handover"),
    [({}, False), ({"drained": True}, False), ({"drained": True, "handover": True}, True), ({"handover": True}, False)],
)
def test_only_a_drained_instance_hands_over_its_streams(changes: dict[str, object], handover: bool):
    instance = from_registry(**changes)
    assert instance is not None
    assert instance.handover is handover


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"type": "babysitter"}},
        {"url": "ftp://h"},
        {"url": "http://"},
        {"url": "http://h:x"},
        {"url": ""},
        {"url": "https://b:1\\@h:2"},
        {"url": "http://u@h"},
        {"url": "http://127.1"},
    ],
)
def test_babysitters_and_unusable_urls_are_no_targets(changes: dict[str, object]):
    assert from_registry(**changes) is None


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://127.0.0.1:8100/health", "secret"),
        ("http://127.0.0.1:8101/health", ""),
        ("https://127.0.0.1:8100/health", ""),
        ("http://evil:8100/health", ""),
        ("http://127.0.0.1:8100@evil/health", ""),
        ("http://127.0.0.1:x/", ""),
    ],
)
def test_a_key_is_sent_to_the_instances_own_address_only(url: str, key: str):
    assert target("a", key="secret").key_for(url) == key
    assert target("a").key_for(url) == ""


def test_a_target_does_not_show_its_key():
    assert "secret" not in repr(target("a", key="secret"))


@pytest.mark.parametrize(("url", "port"), [("http://h", 80), ("https://h", 443), ("http://[::1]:9", 9)])
def test_the_port_may_follow_from_the_scheme(url: str, port: int):
    instance = from_registry(url=url)
    assert instance is not None
    assert instance.port == port


def test_odd_metadata_does_no_harm():
    instance = from_registry(weight=-3, metadata={"models": [1, "m", None], "cache_type": 7, "babysitter": 7})
    assert instance is not None
    assert (instance.models, instance.weight, instance.cache_type, instance.babysitter_url) == (
        ("m",),
        0,
        "",
        "http://h:8101",
    )


@pytest.mark.parametrize(
    ("metadata", "continues"),
    [({"continues": True}, True), ({"continues": "yes"}, False), ({"continues": 1}, False), ({}, False)],
)
def test_only_a_proof_in_the_metadata_lets_an_engine_continue_answers(metadata: dict[str, object], continues: bool):
    instance = from_registry(metadata=metadata)
    assert instance is not None
    assert instance.continues("continues") is continues


def test_the_authority_and_the_babysitters_url():
    assert target("x", host="::1", port=9).authority == b"[::1]:9"
    assert target("x", url="http://h:9").babysitter_url == "http://h:10"
    assert target("x", metadata={"babysitter": "http://b:1"}).babysitter_url == "http://b:1"


@pytest.mark.parametrize(
    "url",
    ["https://b:1\\@h:2", "http://u:p@b", "http://b/?c", "http://b/#c", "httpb", "http://b/\r\nX: y", "file:///b", 7],
)
def test_an_ambiguous_babysitter_url_is_not_used(url: object):
    instance = from_registry(metadata={"babysitter": url, "health_url": url if url != "http://b/?c" else None})
    assert instance is not None
    assert (instance.babysitter_url, instance.health_url) == ("http://h:8101", None)


def test_models_are_limited_as_in_the_registry():
    instance = from_registry(metadata={"models": ["a\x1b[2J", "x" * 513, *map(str, range(300))]})
    assert instance is not None
    assert instance.models == tuple(map(str, range(256)))


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ({}, {}, False),
        ({}, {"status": "stopping"}, False),
        ({"status": "starting"}, {}, True),
        ({}, {"url": "http://other:8100"}, True),
        ({}, {"registered": "2026-12-01"}, False),
        ({"lease_valid": False}, {}, False),
        ({}, {"drained": True}, False),
    ],
)
def test_memory_is_lost_by_a_restart_and_not_by_a_new_registration(before: dict, after: dict, lost: bool):
    assert with_lost_memory([target("a", **before)], [target("a", **after)]) == ({"a"} if lost else set())


def test_memory_is_lost_with_its_instance_and_new_instances_have_none():
    assert with_lost_memory((target("a"), target("b")), (target("b"), target("c"))) == {"a"}


@pytest.mark.parametrize(
    ("url", "secure", "key"),
    [
        ("http://127.0.0.1:8101", False, "secret"),
        ("https://127.0.0.1:9000/b", True, "secret"),
        ("http://127.0.0.1:8101", True, ""),
        ("http://127.0.0.2:8101", False, ""),
        ("http://evil@127.0.0.1:8101", False, ""),
    ],
)
def test_a_babysitter_gets_the_key_only_on_the_instances_own_host(url: str, secure: bool, key: str):
    assert target("a", key="secret", secure=secure).key_for_host(url) == key


@pytest.mark.parametrize(
    ("value", "seconds"), [(30, 30), (0.5, 0.5), (None, 600), (0, 600), (-1, 600), ("5", 600), (True, 600), (1e9, 600)]
)
def test_a_wake_timeout_that_makes_no_sense_is_replaced(value: object, seconds: float):
    assert target("a", metadata={"wake_timeout": value}).wake_timeout == seconds
