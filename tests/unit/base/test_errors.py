"""Errors as OpenAI's client libraries read them."""

import pytest

from svc.base.errors import ConfigError, NotFound, RateLimited, Unauthorized, error_object, message_of


def test_an_error_object_has_message_type_param_and_code():
    error = NotFound("no model 'x'", param="model", code="model_not_found")
    assert error_object(error) == {
        "error": {
            "message": "no model 'x'",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_an_error_without_a_code_has_that_of_its_class():
    assert error_object(NotFound("nothing"))["error"]["code"] == "not_found"


@pytest.mark.parametrize(("seconds", "header"), [(0, "1"), (0.2, "1"), (1.1, "2"), (60, "60")])
def test_retry_after_is_a_whole_number_from_1_on(seconds, header):
    assert RateLimited("too many", seconds).headers() == {"Retry-After": header}


def test_an_unauthorized_client_learns_the_scheme():
    assert Unauthorized("no key").headers() == {"WWW-Authenticate": "Bearer", "x-should-retry": "false"}


def test_every_problem_of_a_configuration_is_a_line():
    error = ConfigError("a: wrong", "b: missing")
    assert (error.message, error.problems) == ("a: wrong\nb: missing", ("a: wrong", "b: missing"))


@pytest.mark.parametrize("answer", [None, [], "error", {}, {"error": 5}, {"error": {"message": 5}}])
def test_an_answer_that_is_no_error_object_has_no_message(answer):
    assert message_of(answer) == ""


def test_the_message_of_an_error_object_is_read():
    assert message_of(error_object(NotFound("nothing"))) == "nothing"
    assert message_of({"error": "nothing"}) == "nothing"
