"""Answers of babysitters are checked before they are used."""

import json

import pytest

from svc.client.wake import MAX_ANSWER_BYTES
from svc.router.waking.answers import read_acceptance, read_offer

OFFER = b'{"name": "a", "status": "asleep", "possible": true, "now": false, "victims": ["b"], "seconds": 9.5}'


def test_an_offer_is_read():
    offer = read_offer(200, OFFER, "a")
    assert (offer.possible, offer.now, offer.seconds, offer.status) == (True, False, 9.5, "asleep")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, OFFER),
        (0, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"\xff"),
        (200, b"[" * 5000),
        (200, OFFER.replace(b'"a"', b'"b"')),
        (200, OFFER.replace(b"9.5", b"-1")),
        (200, OFFER.replace(b"9.5", b"1e999")),
        (200, OFFER.replace(b"9.5", b'"9"')),
        (200, OFFER + b" " * MAX_ANSWER_BYTES),
    ],
)
def test_what_is_no_offer_of_the_instance_is_refused(status, body):
    assert read_offer(status, body, "a") is None


def test_a_reason_is_one_short_line():
    offer = read_offer(200, b'{"possible": false, "reason": "a\\n\\u001b[31mb%s"}' % (b"x" * 5000), "a")
    assert offer.reason.startswith("a \ufffd[31mb")
    assert len(offer.reason) == 300
    assert read_acceptance(202, b'{"status": "starting", "reason": " a\\n b "}').reason == "a b"
    assert read_acceptance(409, b'{"status": "starting"}') is None
    assert read_acceptance(202, b'{"load_seconds": -1}') is None


@pytest.mark.parametrize(("name", "is_valid"), [("chat", True), ("chat-server", True), ("", True), ("code", False)])
def test_an_offer_names_the_instance_with_or_without_its_suffix(name, is_valid):
    body = json.dumps({"possible": True, "now": True, "name": name, "status": "asleep"}).encode()
    assert (read_offer(200, body, "chat-server") is not None) is is_valid
