"""The comparison of a document's output with the real one."""

import pytest

from tests.documents.printed import first_missing_line

OUTPUT = """svc status
NAME    PID  UP
router  123  1.5s
server       9m  fine
"""


@pytest.mark.parametrize(
    "shown", ["", "NAME PID UP", "router 7 20.25s", "router ...\nserver ... fine", "NAME ... UP\n...\nserver 1m fine"]
)
def test_numbers_and_spaces_may_differ(shown):
    assert first_missing_line(shown, OUTPUT) == ""


@pytest.mark.parametrize("shown", ["router", "server ... bad", "NAME ...\nNAME ...", "server ...\nrouter ..."])
def test_a_missing_line_or_another_order_is_found(shown):
    assert first_missing_line(shown, OUTPUT) == shown.splitlines()[-1]
