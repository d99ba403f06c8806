import msgspec
import pytest

from svc.protocol.service import Service
from svc.router.balance.table import Target, build, from_service
from tests.unit.router.made import service, target


def made(**more: object) -> Target | None:
    return from_service(msgspec.convert(service("x", "m", **more), Service))


def test_an_instance_as_the_registry_tells_of_it():
    found = made(url="https://h:8443/", weight=3, status="starting", drained=True, metadata={"cache_type": "paged"})
    assert found is not None
    assert (found.host, found.port, found.secure, found.url) == ("h", 8443, True, "https://h:8443")
    assert (found.weight, found.models, found.cache_type) == (3, ("m",), "paged")
    assert not found.admitted()


@pytest.mark.parametrize(
    "more",
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
def test_what_is_no_instance(more: dict[str, object]):
    assert made(**more) is None


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
def test_a_key_is_for_the_instances_own_address_only(url: str, key: str):
    assert target("a", key="secret").key_for(url) == key
    assert target("a").key_for(url) == ""


def test_a_target_does_not_show_its_key():
    assert "secret" not in repr(target("a", key="secret"))


@pytest.mark.parametrize(("url", "port"), [("http://h", 80), ("https://h", 443), ("http://[::1]:9", 9)])
def test_ports_that_are_not_told(url: str, port: int):
    found = made(url=url)
    assert found is not None
    assert found.port == port


def test_odd_metadata_is_no_harm():
    found = made(weight=-3, metadata={"models": [1, "m", None], "cache_type": 7, "babysitter": 7})
    assert found is not None
    assert (found.models, found.weight, found.cache_type, found.babysitter_url) == (("m",), 0, "", "http://h:8101")


def test_authority_and_babysitter():
    assert target("x", host="::1", port=9).authority == b"[::1]:9"
    assert target("x", url="http://h:9").babysitter_url == "http://h:10"
    assert target("x", metadata={"babysitter": "http://b:1"}).babysitter_url == "http://b:1"


@pytest.mark.parametrize(
    "url",
    ["https://b:1\\@h:2", "http://u:p@b", "http://b/?c", "http://b/#c", "httpb", "http://b/\r\nX: y", "file:///b", 7],
)
def test_a_babysitter_that_could_be_read_in_two_ways_is_none(url: object):
    found = made(metadata={"babysitter": url, "health_url": url if url != "http://b/?c" else None})
    assert found is not None
    assert (found.babysitter_url, found.health_url) == ("http://h:8101", None)


def test_no_more_models_than_a_registry_takes_and_none_that_it_refuses():
    found = made(metadata={"models": ["a\x1b[2J", "x" * 513, *map(str, range(300))]})
    assert found is not None
    assert found.models == tuple(map(str, range(256)))


def test_candidates_are_running_not_drained_and_well():
    targets = [
        target("a", "m"),
        target("b", "m", status="starting"),
        target("c", "m", drained=True),
        target("d", "m", well=False),
        target("e", "m", well=False),
        target("f", "m", well=True),
        target("g", "n"),
    ]
    table = build(targets, lambda t: {"e": True, "f": False}.get(t.name, t.well is not False))
    assert table.candidates == {"a", "e", "g"}
    assert [m.name for m in table.pool("m").members] == ["a", "e"]
    assert [m.name for m in table.pool(None).members] == ["a", "e", "g"]
    assert table.pool("none") is None
    assert table.serves("n")
    assert not table.serves("none")


def test_where_a_model_has_only_unfit_ones_they_are_tried():
    table = build([target("a", "m", "n"), target("b", "n"), target("c", "m", status="failed")], lambda t: t.name == "b")
    assert table.candidates == {"b"}
    assert [m.name for m in table.pool("m").members] == ["a"]
    assert [m.name for m in table.pool("n").members] == ["b"]


def test_models_whose_instances_are_all_on_their_way_back():
    targets = [target("a", "m", "n", status="starting"), target("b", "n"), target("c", "o", status="failed")]
    assert build([*targets, target("d", "p", status="starting", drained=True)], lambda t: True).returning == {"m"}


def test_pools_keep_their_keys_when_the_table_changes():
    tagged = {"cache_type": "static"}
    before, after = build([target("a", "m", metadata=tagged)], bool), build([target("b", "m", metadata=tagged)], bool)
    assert before.pool("m").key == after.pool("m").key == "m"
    assert before.pool("m").by_cache["static"].key == after.pool("m").by_cache["static"].key != "m"
    assert before.pool(None).key == ""
