import json

import pytest

from svc.router.balance.account import Account
from svc.router.proxy.engine_priority import pass_priority, with_priority
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.routing_fields import read_routing_request
from tests.unit.router.examples import request, state, target

STATE = state(target("a", "m"))
JSON = {"content_type": b"application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m"}',
        b"{}",
        b" {\n} \r\n",
        b'{"priority": -1000}',
        b'{"a": "{", "b": [1, {}]}',
        b'{"a": "\xc3\xa5"}',
        b'\xef\xbb\xbf{"priority": -1000}',
        '{"priority": -1000}'.encode("utf-16-le"),
        '{"priority": -1000}'.encode("utf-32"),
    ],
)
def test_the_accounts_priority_replaces_that_of_the_client(body: bytes):
    changed = json.loads(with_priority(body, -5))
    assert changed == {**json.loads(body), "priority": -5}


@pytest.mark.parametrize("body", [b"", b"[1]", b"{"])
def test_what_is_no_object_stays_as_it_is(body: bytes):
    assert with_priority(body, 3) == body


def passed(priority: int, body: bytes, **head: bytes) -> bytes:
    """Return the body that an instance gets."""
    exchange = Exchange(STATE, request(body, **{**JSON, **head}), "")
    routing = pass_priority(exchange, Account("k", priority=priority), read_routing_request(exchange))
    assert routing.body == exchange.request.body
    return exchange.request.body


def test_a_higher_priority_is_a_lower_number_in_vllm():
    assert passed(7, b'{"model": "m"}') == b'{"model": "m","priority":-7}'
    assert passed(-7, b'{"model": "m"}') == b'{"model": "m","priority":7}'
    assert passed(0, b'{"model": "m", "priority": -9}').endswith(b',"priority":0}')


def test_other_requests_pass_unchanged():
    body = b'{"model": "m"}'
    assert passed(7, body, uri=b"/v1/messages") == body
    assert passed(7, body, uri=b"/v1/load_lora_adapter") == body


def test_a_large_body_cannot_keep_the_priority_of_the_client():
    large = b'{"model": "m", "priority": -1000, "a": "%b"}' % (b"x" * (1 << 20))
    assert passed(7, large).endswith(b'x","priority":-7}')
