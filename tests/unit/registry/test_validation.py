import pytest

from svc.base.errors import BadRequest
from svc.registry import validation
from tests.unit.registry.services import NOW, registration, service


def test_a_registration_needs_six_fields_and_the_rest_has_defaults():
    parsed = validation.parse_registration(registration(), NOW)
    assert (parsed.lease_seconds, parsed.weight, parsed.metadata, parsed.drained) == (90, 1, {}, False)
    assert (parsed.last_heartbeat, parsed.timestamp) == (NOW, "2023-11-14T22:13:20.000Z")


def test_optional_fields_are_kept():
    more = {"lease_seconds": 12.5, "weight": 0, "timestamp": "2026-01-01T00:00:00", "metadata": {"type": "openai-api"}}
    parsed = validation.parse_registration(registration(**more), NOW)
    assert {key: getattr(parsed, key) for key in more} == more


def test_clients_cannot_set_the_registrys_own_fields():
    body = registration(drained=True, health_status="healthy", last_heartbeat=9e9, colour="blue")
    parsed = validation.parse_registration(body, NOW)
    assert (parsed.drained, parsed.health_status, parsed.last_heartbeat) == (False, "unknown", NOW)


def test_one_error_names_every_missing_and_every_wrong_field():
    with pytest.raises(BadRequest) as failure:
        validation.parse_registration({"name": "a", "port": 0, "host": None, "weight": True}, NOW)
    assert failure.value.message == (
        "host, hostname, url, status: missing; a registration needs name host port hostname url status; "
        "port: must be 1 to 65535, not 0; weight: must be 0 to 1000, not true"
    )
    assert failure.value.param == "host,hostname,url,status,port,weight"


INVALID_VALUES = {
    "name": ["", "-a", "a b", "a/b", "a\n", "ä", "a" * 129, 7],
    "host": [
        "fe80::1%eth0",
        "fe80::1%\x1b[2J",
        "",
        "a b",
        "http://a",
        "a/b",
        "-a",
        "a" * 254,
        "127.1",
        "2130706433",
        "0x7f000001",
        "1.2.3.4.",
        7,
    ],
    "hostname": ["", "a b"],
    "port": [0, 65536, "8100", 8100.0, True, -1],
    "url": [
        "",
        "localhost:8100",
        "ftp://a",
        "file:///etc/passwd",
        "http://",
        "http://u:p@a",
        "http://a:0",
        "http://a:x",
        "http://a b",
        "http://a\n",
        "http://a:65536",
        "http://a/?b",
        "http://a/#b",
        "http://127.1",
        7,
    ],
    "status": ["", "s" * 65, "a\nb", "\x1b[2J", 1, []],
    "weight": [-1, 1001, 1.0, True, "1"],
    "lease_seconds": [0, 0.5, 86401, "90", True],
    "timestamp": ["", "x" * 65, 7, "2026\x1b[31m"],
    "metadata": [
        [],
        "x",
        {"health_url": "file:///x"},
        {"health_url": 7},
        {"a": "x" * 65536},
        {"health_url": "https://b:1\\@a:2"},
        {"health_url": "http://u@a"},
        {"health_url": "http://a/#b"},
        {"babysitter": "https://b:1\\@a:2"},
        {"babysitter": "http://u:p@a"},
        {"babysitter": "http://a/?b"},
        {"babysitter": "httpx://a"},
        {"babysitter": "http://[::1"},
        {"babysitter": "http://a/\r\nX: y"},
        {"babysitter": 7},
        {"babysitter": "\x1b[2J"},
        {"models": "m"},
        {"models": [7]},
        {"models": ["m\x1b[2J"]},
        {"models": [""]},
        {"models": ["m" * 513]},
        {"models": ["m"] * 257},
        {"models_list": [{"id": "m"}] * 257},
        {"models_list": [{"id": "a\nb"}]},
        {"models_list": [{"name": "m"}]},
        {"models_list": {}},
        {"1": {"2": {"3": {"4": {"5": {"6": {"7": {"8": {}}}}}}}}},
    ],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in INVALID_VALUES.items() for value in values]
)
def test_an_invalid_value_is_rejected_with_its_field(field, value):
    with pytest.raises(BadRequest) as failure:
        validation.parse_registration({**registration(), field: value}, NOW)
    assert failure.value.param == field
    assert failure.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "a" * 128},
        {"metadata": {"babysitter": "enhanced"}},
        {"metadata": {"babysitter": "http://10.0.0.7:8101/qwen", "health_url": "http://10.0.0.7:8101/up?a=b"}},
        {"metadata": {"models": ["m" * 512, *"日本"] * 85, "models_list": [{"id": "m", "owned_by": "x"}] * 256}},
        {"host": "::1", "url": "http://[::1]:8100"},
        {"host": "gpu_7.lab.example", "hostname": "localhost"},
        {"url": "https://models.example/base", "host": "models.example", "port": 443},
        {"weight": 1000, "lease_seconds": 86400},
        {"status": "RUNNING"},
        {"status": "warming up"},
        {"status": "运行中"},
        {"metadata": {"health_url": "http://10.0.0.7:9000/up", "1": {"2": {"3": {"4": {"5": {"6": {"7": {}}}}}}}}},
    ],
)
def test_unusual_valid_values_are_accepted(fields):
    parsed = validation.parse_registration(registration(**fields), NOW)
    assert {key: getattr(parsed, key) for key in fields} == fields


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'"text"', b"[1]", b"7", b"[" * 200_000, b'{"a": NaN}', b'{"a": 1e999}', b'"\\ud800"']
)
def test_a_body_that_is_no_json_object_is_rejected(body):
    with pytest.raises(BadRequest) as failure:
        validation.parse_body(body)
    assert failure.value.code == "invalid_json"


def test_deep_nesting_in_any_field_is_rejected_without_a_crash():
    nested = validation.parse_body(b'{"a":' * 400 + b"1" + b"}" * 400)
    for field in INVALID_VALUES:
        with pytest.raises(BadRequest):
            validation.parse_registration({**registration(), field: nested}, NOW)


def test_an_empty_body_is_an_empty_object():
    assert validation.parse_body(b" ") == {}
    assert validation.parse_heartbeat_status({}) is None


def test_an_update_may_change_nothing_and_cannot_rename():
    assert validation.parse_changes({"status": "draining", "name": "qwen"}, "qwen") == {"status": "draining"}
    assert validation.parse_changes({}, "qwen") == validation.parse_changes({"drained": True}, "qwen") == {}
    with pytest.raises(BadRequest):
        validation.parse_changes({"name": "other", "status": "running"}, "qwen")


def test_filters_by_status_health_and_type():
    live, dead = service(metadata={"type": "openai-api"}), service(status="failed")
    assert validation.parse_filters({"status": "failed"})(dead)
    assert not validation.parse_filters({"status": "failed"})(live)
    assert validation.parse_filters({"healthy": "true"})(live)
    assert not validation.parse_filters({"healthy": "true"})(service(expired=True))
    assert validation.parse_filters({"healthy": "false", "status": "running"})(service(expired=True))
    assert validation.parse_filters({"type": "openai-api"})(live)
    assert not validation.parse_filters({"type": "openai-api"})(dead)
    assert not validation.parse_filters({"status": "up"})(live)
    with pytest.raises(BadRequest) as failure:
        validation.parse_filters({"healthy": "yes"})
    assert failure.value.param == "healthy"


@pytest.mark.parametrize("true", ["true", "True", "TRUE"])
def test_the_health_filter_has_any_case_and_an_empty_filter_is_none(true):
    live, dead = service(), service(status="failed")
    assert validation.parse_filters({"healthy": true})(live)
    assert not validation.parse_filters({"healthy": true})(dead)
    assert validation.parse_filters({"healthy": "False"})(dead)
    assert validation.parse_filters({"healthy": "", "status": "", "type": ""})(dead)
