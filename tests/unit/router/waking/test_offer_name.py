"""A babysitter names its instance without the suffix under which it is registered."""

import json

import pytest

from svc.router.waking.offer import read_offer


@pytest.mark.parametrize(("name", "is_valid"), [("chat", True), ("chat-server", True), ("", True), ("code", False)])
def test_an_offer_is_that_of_the_instance(name, is_valid):
    body = json.dumps({"possible": True, "now": True, "name": name, "status": "asleep"}).encode()
    assert (read_offer(200, body, "chat-server") is not None) is is_valid
