"""What the router's metrics say of instances and queues."""

import pytest

from svc.client.router_metrics import (
    InstanceMarks,
    InstanceTraffic,
    answered_attempts,
    instance_loads,
    instance_marks,
    parse_metrics,
    queue_lengths,
    router_requests,
)

TEXT = r"""# HELP svc_router_instance_up 1 while the instance gets requests.
# TYPE svc_router_instance_up gauge
svc_router_instance_up{instance="a"} 1.0
svc_router_instance_up{instance="b"} 0.0
svc_router_instance_up{instance="c"} 0.0
svc_router_instance_ejected{instance="a"} 0.0
svc_router_instance_ejected{instance="b"} 1.0
svc_router_requests_in_flight{instance="a"} 3.0
svc_router_requests_in_flight{instance="b"} 0.0
svc_router_attempts_answered_total{instance="a"} 5.0
svc_router_queue{model=""} 1.0
svc_router_queue{model="a \"quoted\" name"} 2.0
svc_router_queue_limit 100.0
"""


def test_an_instance_is_up_ejected_or_unused():
    marks = {"a": InstanceMarks(True, False, False), "b": InstanceMarks(False, True, False)}
    assert instance_marks(TEXT) == {**marks, "c": InstanceMarks(False, False, False)}
    assert parse_metrics(TEXT, 0.0).states == {"a": "up", "b": "ejected", "c": "unused"}


def test_an_instance_that_is_up_may_be_failing():
    text = TEXT + "".join(f'svc_router_instance_failing{{instance="{name}"}} 1.0\n' for name in "ab")
    assert parse_metrics(text, 0.0).states == {"a": "failing", "b": "ejected", "c": "unused"}
    assert [name for name, marks in instance_marks(text).items() if marks.is_failing] == ["a", "b"]


def test_the_load_of_an_instance_is_its_requests_in_flight():
    assert instance_loads(TEXT) == {"a": InstanceTraffic(True, 3), "b": InstanceTraffic(False, 0)}
    assert answered_attempts(TEXT, "a") == (5.0, 3)
    assert answered_attempts(TEXT, "b") is None


def test_requests_that_are_handed_over_are_by_instance_and_state():
    states = (("a", "moving", 2), ("a", "tool_call", 1), ("b", "engine", 4))
    text = "".join(
        f'svc_router_handover_requests{{instance="{name}",state="{state}"}} {n}\n' for name, state, n in states
    )
    requests = router_requests(TEXT + text)
    assert requests.loads == instance_loads(TEXT)
    assert requests.handovers == {"a": {"moving": 2, "tool_call": 1}, "b": {"engine": 4}}
    assert router_requests(TEXT).handovers == {}, "an older router"


def test_queue_lengths_are_by_model_whatever_its_name():
    assert queue_lengths(TEXT) == {"": 1, 'a "quoted" name': 2}


def test_a_line_that_was_cut_is_left_out():
    assert queue_lengths(TEXT[: TEXT.index("2.0") + 1]) == {"": 1}


def test_metrics_of_another_program_are_refused():
    with pytest.raises(ValueError, match="no metric of a router"):
        parse_metrics("node_load1 0.5\n", 0.0)
    assert instance_loads("<html>\n") == {}
