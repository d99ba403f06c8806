"""A request for one token, by the API that the engine supports."""

import pytest
import requests

from svc.babysitter.health_rules import ProbeOutcome
from svc.babysitter.token_probe import REQUEST_BODIES, TokenProbe

CHAT, COMPLETIONS, EMBEDDINGS, RERANK = REQUEST_BODIES


class FakeEngine:
    """Answers each path with a status, or raises the exception given for it."""

    def __init__(self, **answers):
        self.answers = {path: answers.get(path.rpartition("/")[2], 404) for path in REQUEST_BODIES}
        self.requested = []

    def post(self, url, body, timeout):
        assert timeout <= 3
        assert body["model"] == "m"
        path = url.removeprefix("http://here")
        self.requested.append(path)
        answer = self.answers[path]
        if isinstance(answer, int):
            return answer
        raise answer


def probe(**answers):
    engine = FakeEngine(**answers)
    return TokenProbe(["http://here"], 3, engine.post).send("m"), engine.requested


@pytest.mark.parametrize(
    ("answers", "outcome", "reason"),
    [
        ({"completions": 200}, ProbeOutcome.GENERATED, ""),
        ({"embeddings": 200}, ProbeOutcome.GENERATED, ""),
        ({"completions": 400, "embeddings": 501, "rerank": 200}, ProbeOutcome.GENERATED, ""),
        ({}, ProbeOutcome.REFUSED, "it does none of " + ", ".join(REQUEST_BODIES)),
        ({"completions": 401}, ProbeOutcome.REFUSED, "it answers 401: see [backend] api_key_file"),
        ({"completions": 429}, ProbeOutcome.BUSY, "it answers 429"),
        ({"completions": 500}, ProbeOutcome.SILENT, "it answers 500"),
        ({"completions": requests.Timeout()}, ProbeOutcome.SILENT, "no token within 3 s"),
        (
            {"completions": requests.ConnectionError("[Errno 111] refused")},
            ProbeOutcome.SILENT,
            "it refuses connections",
        ),
        (
            {"completions": requests.ConnectionError("reset")},
            ProbeOutcome.SILENT,
            "it closes the connection unanswered",
        ),
    ],
)
def test_the_outcome_of_each_answer(answers, outcome, reason):
    assert probe(**answers)[0] == (outcome, reason)


def test_an_engine_whose_chat_alone_is_broken_still_generates():
    engine = FakeEngine(completions=500)
    engine.answers[COMPLETIONS] = 200
    assert TokenProbe(["http://here"], 3, engine.post).send("m") == (ProbeOutcome.GENERATED, "")


def test_no_other_api_is_tried_after_a_timeout():
    assert probe(completions=requests.Timeout())[1] == [CHAT]


def test_the_api_that_worked_is_tried_first_from_then_on():
    engine = FakeEngine(embeddings=200)
    token_probe = TokenProbe(["http://here"], 3, engine.post)
    token_probe.send("m")
    assert engine.requested == [CHAT, COMPLETIONS, EMBEDDINGS]
    token_probe.send("m")
    assert engine.requested[3:] == [EMBEDDINGS]


def test_the_second_url_is_tried_when_the_first_refuses():
    requested = []

    def post(url, body, timeout):
        requested.append(url)
        if "one" in url:
            raise requests.ConnectionError("refused")
        return 200

    assert TokenProbe(["http://one", "http://two"], 3, post).send("m") == (ProbeOutcome.GENERATED, "")
    assert requested == ["http://one" + CHAT, "http://two" + CHAT]


def test_a_probe_costs_one_token():
    assert REQUEST_BODIES[CHAT]("m")["max_tokens"] == REQUEST_BODIES[COMPLETIONS]("m")["max_tokens"] == 1
