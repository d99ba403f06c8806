"""One token, asked for in the way that the server understands."""

import pytest
import requests

from svc.babysitter.health_rules import Sign
from svc.babysitter.token_probe import WAYS, Question

CHAT, COMPLETIONS, EMBEDDINGS, RERANK = WAYS


class Server:
    """Answers by path; what is no number is raised."""

    def __init__(self, **answers):
        self.answers = {path: answers.get(path.rpartition("/")[2], 404) for path in WAYS}
        self.asked = []

    def post(self, url, body, timeout):
        assert timeout <= 3
        assert body["model"] == "m"
        path = url.removeprefix("http://here")
        self.asked.append(path)
        answer = self.answers[path]
        if isinstance(answer, int):
            return answer
        raise answer


def put(**answers):
    server = Server(**answers)
    return Question(["http://here"], 3, server.post).put("m"), server.asked


@pytest.mark.parametrize(
    ("answers", "sign", "why"),
    [
        ({"completions": 200}, Sign.GENERATED, ""),
        ({"embeddings": 200}, Sign.GENERATED, ""),
        ({"completions": 400, "embeddings": 501, "rerank": 200}, Sign.GENERATED, ""),
        ({}, Sign.REFUSED, "it does none of " + ", ".join(WAYS)),
        ({"completions": 401}, Sign.REFUSED, "it answers 401: see [backend] api_key_file"),
        ({"completions": 429}, Sign.BUSY, "it answers 429"),
        ({"completions": 500}, Sign.SILENT, "it answers 500"),
        ({"completions": requests.Timeout()}, Sign.SILENT, "no token within 3 s"),
        ({"completions": requests.ConnectionError("[Errno 111] refused")}, Sign.SILENT, "it refuses connections"),
        ({"completions": requests.ConnectionError("reset")}, Sign.SILENT, "it closes the connection unanswered"),
    ],
)
def test_what_an_answer_shows(answers, sign, why):
    assert put(**answers)[0] == (sign, why)


def test_one_that_only_chat_breaks_is_no_broken_server():
    server = Server(completions=500)
    server.answers[COMPLETIONS] = 200
    assert Question(["http://here"], 3, server.post).put("m") == (Sign.GENERATED, "")


def test_a_silent_one_is_not_asked_again_and_again():
    assert put(completions=requests.Timeout())[1] == [CHAT]


def test_the_way_that_worked_comes_first_from_then_on():
    server = Server(embeddings=200)
    question = Question(["http://here"], 3, server.post)
    question.put("m")
    assert server.asked == [CHAT, COMPLETIONS, EMBEDDINGS]
    question.put("m")
    assert server.asked[3:] == [EMBEDDINGS]


def test_the_second_address_is_asked_where_the_first_refuses():
    asked = []

    def post(url, body, timeout):
        asked.append(url)
        if "one" in url:
            raise requests.ConnectionError("refused")
        return 200

    assert Question(["http://one", "http://two"], 3, post).put("m") == (Sign.GENERATED, "")
    assert asked == ["http://one" + CHAT, "http://two" + CHAT]


def test_it_costs_one_token():
    assert WAYS[CHAT]("m")["max_tokens"] == WAYS[COMPLETIONS]("m")["max_tokens"] == 1
