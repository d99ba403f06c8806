"""What a document shows is held against what was printed."""

import pytest

from tests.documents.printed import lacking

SAID = """svc status
NAME    PID  UP
router  123  1.5s
server       9m  fine
"""


@pytest.mark.parametrize(
    "shown", ["", "NAME PID UP", "router 7 20.25s", "router ...\nserver ... fine", "NAME ... UP\n...\nserver 1m fine"]
)
def test_what_was_printed_is_found_whatever_its_numbers_and_spaces(shown):
    assert lacking(shown, SAID) == ""


@pytest.mark.parametrize("shown", ["router", "server ... bad", "NAME ...\nNAME ...", "server ...\nrouter ..."])
def test_what_was_not_or_in_another_order_is_named(shown):
    assert lacking(shown, SAID) == shown.splitlines()[-1]
