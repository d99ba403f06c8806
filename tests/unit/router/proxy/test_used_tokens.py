from typing import Any

import pytest

from svc.router.http.response_parser import ResponseHead
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.response_stream import ResponseStream
from svc.router.proxy.used_tokens import count_running, count_used, usage_part, used_tokens
from svc.router.telemetry.request_tokens import NO_TOKENS, NO_USAGE, RequestTokens, Usage
from svc.router.usage.usage_sums import UsageEntry
from tests.unit.router.examples import Clock, request, state

BODY = b'{"model":"m","messages":"' + b"x" * 374 + b'"}'  # 400 bytes
WORD = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'


def exchange(status: int = 200, words: int | None = None, end: str = "done", **fields: Any) -> Exchange:
    """Return the exchange of a request; with `words`, its response is a stream of so many tokens."""
    made = Exchange(state(usage_file="usage.db", clock=Clock()), request(BODY, **fields), "127.0.0.1")
    made.attempts, made.end, made.status = 1, end, status
    if status:
        made.head = ResponseHead(status, b"", [], sized=False)
    if words is not None:
        made.stream = ResponseStream()
        made.first_byte_at = made.state.clock()
        for _ in range(words):
            made.stream.add(WORD, made.state.clock)
    return made


@pytest.mark.parametrize(
    ("made", "usage", "tokens"),
    [
        (exchange(), Usage(9, 4, 5), RequestTokens(9, 4, 5, 0)),
        (exchange(words=7), Usage(9, 4, 5), RequestTokens(9, 4, 5, 0)),
        (exchange(words=7), NO_USAGE, RequestTokens(100, 0, 7, 107)),
        (exchange(words=7, end="cut"), Usage(9, None, None), RequestTokens(9, 0, 7, 7)),
        (exchange(uri=b"/v1/embeddings"), Usage(9, None, None), RequestTokens(9, 0, 0, 0)),
        (exchange(0, end="client"), NO_USAGE, RequestTokens(100, 0, 0, 100)),
        (exchange(0, end="failed"), NO_USAGE, NO_TOKENS),
        (exchange(400), NO_USAGE, NO_TOKENS),
        (exchange(500), NO_USAGE, NO_TOKENS),
        (exchange(uri=b"/v1/messages/count_tokens?beta=true"), Usage(9, None, None), NO_TOKENS),
        (exchange(uri=b"/tokenize"), NO_USAGE, NO_TOKENS),
        (exchange(method=b"GET", uri=b"/v1/responses/resp_1"), Usage(9, 4, 5), NO_TOKENS),
    ],
)
def test_a_request_has_used_what_an_instance_has_done_for_it(made: Exchange, usage: Usage, tokens: RequestTokens):
    assert used_tokens(made, usage) == tokens


def only_row(made: Exchange) -> UsageEntry:
    assert made.state.usage is not None
    (row,) = made.state.usage.take()
    return row


def test_a_stream_that_ends_replaces_what_was_counted_while_it_ran():
    made = exchange(words=20)
    clock, stream = made.state.clock, made.stream
    assert isinstance(clock, Clock)
    assert stream is not None
    clock.now += 1
    count_running(made, stream, "m")
    clock.now += 1
    count_running(made, stream, "m")
    running = only_row(made)
    assert (running.requests, running.prompt, running.completion, running.stream_seconds) == (0, 100, 14, 2.0)
    assert running.estimated == 114
    clock.now += 0.5
    count_used(made, "m", RequestTokens(90, 10, 21, 0), clock.now)
    running.add(only_row(made))
    assert (running.requests, running.prompt, running.cached, running.completion) == (1, 90, 10, 21)
    assert (running.estimated, running.stream_seconds) == (0, 2.5)


@pytest.mark.parametrize(
    ("status", "end", "failed"),
    [(200, "done", 0), (200, "client", 0), (0, "client", 0), (429, "refused", 1), (200, "cut", 1), (504, "timeout", 1)],
)
def test_errors_and_broken_answers_count_as_failed_and_clients_that_leave_do_not(status: int, end: str, failed: int):
    made = exchange(status, end=end)
    count_used(made, "m", NO_TOKENS, made.state.clock())
    row = only_row(made)
    assert (row.requests, row.failed) == (1, failed)


def test_the_time_in_the_queue_ends_with_the_attempt_or_with_the_request():
    made = exchange()
    made.waiting_since, made.queue_seconds = made.state.clock() - 2, 0.5
    count_used(made, "m", NO_TOKENS, made.state.clock())
    assert only_row(made).queue_seconds == 2.5


def test_the_usage_is_found_between_long_fields_and_in_any_pieces():
    body = b'{"choices":"%b","usage":{"prompt_tokens":9},"prompt_token_ids":[%b]}' % (b"x" * 5000, b"1," * 5000)
    for size in (10, 1000, 5010, 20_000):
        end = found = b""
        for start in range(0, len(body), size):
            data = body[start : start + size]
            found, end = usage_part(end, data) or found, (end + data)[-1024:]
        assert found.startswith(b'"usage":{"prompt_tokens":9},')
    assert usage_part(b"", rb'{"text":"\"usage\":{}"}') == b""
