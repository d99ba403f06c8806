"""The lines of `svc route`."""

from svc.terminal.route_lines import route_lines

CANDIDATE = {"in_flight": 0, "max_concurrency": 0, "weight": 1, "cache_type": "", "work": None, "excluded": ""}
ROUTE = {
    "method": "POST",
    "path": "/v1/chat/completions",
    "requested_model": "gpt",
    "model": "qwen",
    "policy": "session",
    "session": "s1",
    "session_source": "the header x-session-id",
    "object_id": "",
    "instance": "a",
    "waits": False,
    "why": ["the session prefers the instances in the order b, a", "b is skipped: it has 9 requests in flight"],
    "candidates": [
        {**CANDIDATE, "name": "a", "in_flight": 1, "max_concurrency": 2},
        {**CANDIDATE, "name": "c", "work": 300, "excluded": "it is drained"},
    ],
    "error": None,
}


def lines(**changes: object) -> list[str]:
    return [line.plain.rstrip() for line in route_lines({**ROUTE, **changes}, 100)]


def test_the_choice_and_its_reasons():
    assert lines()[:7] == [
        "request    POST /v1/chat/completions",
        "model      qwen, in place of gpt",
        "policy     session",
        "session    's1': the header x-session-id",
        "instance   a",
        "because    the session prefers the instances in the order b, a",
        "           b is skipped: it has 9 requests in flight",
    ]


def test_the_candidates():
    assert [line.split(maxsplit=3) for line in lines()[8:]] == [
        ["CANDIDATE", "IN", "FLIGHT", "WORK  WEIGHT  CACHE  STATE"],
        ["a", "1", "of", "2           1              chosen"],
        ["c", "0", "300", "1              it is drained"],
    ]
    drained = [{**CANDIDATE, "name": "a", "excluded": "it is drained"}]
    assert lines(candidates=drained)[-1].endswith("chosen, though it is drained")


def test_a_request_without_a_model_session_or_instance():
    nothing = {"model": None, "requested_model": None, "session": "", "instance": None, "candidates": [], "why": []}
    assert lines(**nothing) == [
        "request    POST /v1/chat/completions",
        "model      none is named: any",
        "policy     session",
        "instance   none",
    ]
    assert lines(**nothing, waits=True)[-1] == "instance   none yet: it would wait"
    assert "object     resp_1" in lines(object_id="resp_1", policy="")
