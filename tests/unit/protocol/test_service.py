"""A registered service: its health, its URLs and its models."""

from typing import Any

import msgspec
import pytest

from svc.protocol.service import (
    MAX_MODEL_ID_LENGTH,
    MAX_MODELS,
    Service,
    babysitter_of,
    babysitter_url,
    iso,
    models_of,
    named_babysitter,
)

SERVICE = Service(name="a-server", host="h", port=8100, hostname="h", url="http://h:8100", status="running")
INSTANCE = {"type": "openai-api"}


def service(**changed: Any) -> Service:
    return msgspec.structs.replace(SERVICE, **changed)


def test_a_running_service_is_healthy_before_its_first_check():
    assert service().is_healthy()


@pytest.mark.parametrize(
    "changed", [{"status": "starting"}, {"drained": True}, {"expired": True}, {"health_status": "unhealthy"}]
)
def test_a_service_that_must_get_no_requests_is_not_healthy(changed):
    assert not service(**changed).is_healthy()


@pytest.mark.parametrize(
    ("changed", "url"),
    [
        ({}, "http://h:8100/health"),
        ({"url": "http://h:8100/"}, "http://h:8100/health"),
        ({"metadata": INSTANCE}, "http://h:8101/health"),
        ({"metadata": INSTANCE | {"health_url": "http://h:1/ready"}}, "http://h:1/ready"),
        ({"metadata": INSTANCE | {"health_url": 5}}, "http://h:8101/health"),
    ],
)
def test_an_instance_is_checked_at_its_babysitter(changed, url):
    assert service(**changed).health_url() == url


@pytest.mark.parametrize(
    ("url", "babysitter"),
    [
        ("http://h:8100", "http://h:8101"),
        ("https://h/v1", "http://h:444"),
        ("http://[::1]:8100", "http://[::1]:8101"),
    ],
)
def test_a_babysitter_listens_on_the_next_port_without_tls(url, babysitter):
    assert babysitter_url(url) == babysitter


@pytest.mark.parametrize(
    ("metadata", "babysitter"),
    [
        ({}, "http://h:8101"),
        ({"babysitter": "enhanced"}, "http://h:8101"),
        ({"babysitter": "http://b:1/"}, "http://b:1"),
        ({"static": True}, "http://h:8101"),
        ({"static": True, "health_url": "http://h:8100/health"}, None),
        ({"static": True, "health_url": "http://h:8100/health", "babysitter": "http://b:1"}, "http://b:1"),
    ],
)
def test_a_static_instance_with_its_own_health_check_has_no_babysitter(metadata, babysitter):
    assert babysitter_of("http://h:8100", metadata) == babysitter


@pytest.mark.parametrize("url", [None, "", "http://h:1/?q", "ftp://h", "http://u:p@h"])
def test_a_babysitter_at_an_unusable_url_is_none(url):
    assert named_babysitter({"babysitter": url}) is None


def test_the_list_shows_neither_the_owner_nor_the_expiry():
    shown = service(owner="digest", expired=True).to_json()
    assert not shown.keys() & {"owner", "expired"}
    assert shown["is_healthy"] is False


def test_unusable_models_are_left_out():
    models = ["a", "", 5, "b\n", "x" * (MAX_MODEL_ID_LENGTH + 1), "c"]
    assert models_of({"models": models}) == ["a", "c"]
    assert models_of({"models": "a"}) == models_of({}) == []


def test_an_instance_has_a_limited_number_of_models():
    assert len(models_of({"models": [f"m{number}" for number in range(MAX_MODELS + 5)]})) == MAX_MODELS


def test_a_timestamp_is_in_utc_with_milliseconds():
    assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"
