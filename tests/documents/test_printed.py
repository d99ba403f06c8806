"""The comparison of a document's output with the real one."""

import pytest

from tests.documents.printed import first_json_difference, first_missing_line

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


def test_programs_may_become_ready_in_any_order():
    shown = "router  ready at http://a (1 s)\nregistry  ready at http://b (1 s)\nAll is ready"
    other_order = "registry ready at http://b (7 s)\nrouter ready at http://a (8 s)\nAll is ready"
    assert first_missing_line(shown, other_order) == ""
    assert first_missing_line(shown, "router ready at http://a (8 s)\nAll is ready") == shown.splitlines()[1]


@pytest.mark.parametrize("shown", ["router", "server ... bad", "NAME ...\nNAME ...", "server ...\nrouter ..."])
def test_a_missing_line_or_another_order_is_found(shown):
    assert first_missing_line(shown, OUTPUT) == shown.splitlines()[-1]


@pytest.mark.parametrize("shown", ['{"a": 9}', '{"b": [{"c": "other"}]}', "{}", '{"d": null}'])
def test_values_of_json_may_differ_and_fields_may_be_more(shown):
    output = '+ curl ...\n{"ignored": 1}\n{"a": 1.5, "b": [{"c": "x", "e": true}], "d": null}\n{ echo; }\n'
    assert first_json_difference(shown, output) == ""


@pytest.mark.parametrize(
    ("shown", "difference"),
    [
        ('{"x": 1}', "the answer has no ['x']"),
        ('{"b": [{"c": 1}]}', "the answer.b[0].c is 'x'"),
        ('{"b": [{}, {}]}', "the answer.b has 1 entries"),
    ],
)
def test_a_missing_field_or_another_type_is_found(shown, difference):
    assert first_json_difference(shown, '{"b": [{"c": "x"}]}') == difference
    assert first_json_difference(shown, "nothing") == "the output has no JSON"
