"""What an exchange has used: its tokens, and its row in the ledger, while its response is streamed and at its end."""

from typing import TYPE_CHECKING

from svc.router.http.request import Media
from svc.router.telemetry.request_tokens import (
    NO_TOKENS,
    RequestTokens,
    Usage,
    estimated_prompt_tokens,
    request_tokens,
)
from svc.router.telemetry.statistics import USAGE_TAIL_BYTES

if TYPE_CHECKING:
    from svc.router.proxy.exchange import Exchange
    from svc.router.proxy.response_stream import ResponseStream
    from svc.router.usage.usage_sums import UsageEntry

# The last segments of paths at which no model runs, even if the responses report the tokens of a prompt.
FREE_PATHS = frozenset(
    b"count_tokens input_tokens tokenize detokenize chat_tokenize decode render derender apply-template "
    b"separate_reasoning parse_function_call".split()
)
BROKEN_ENDS = ("failed", "refused", "cut", "timeout", "stopping")  # `end` of exchanges that count as failed
UNANSWERED_ENDS = ("client", "timeout", "stopping")  # with these, the instance may have processed the prompt


def used_tokens(exchange: "Exchange", usage: Usage) -> RequestTokens:
    """Return the tokens that an exchange has used when it ends. `usage`: what its response reports."""
    stream, head, prompt = exchange.stream, exchange.request.head, usage.prompt
    if prompt is not None and usage.completion is not None and head.method == b"POST":
        return RequestTokens(prompt, min(usage.cached, prompt) if usage.cached else 0, usage.completion)
    if head.method != b"POST" or not _has_used(exchange) or _is_free(head.uri):
        return NO_TOKENS
    events = stream.tokens.total() if stream is not None else 0
    return request_tokens(usage, events, prompt_tokens(exchange) if usage.prompt is None else 0)


def prompt_tokens(exchange: "Exchange") -> int:
    """Return the estimated tokens of the prompt; 0 for a form, and for a request that is not for inference."""
    if exchange.prompt_estimate is None:
        head = exchange.request.head
        has_prompt = head.is_inference and head.media is Media.JSON
        exchange.prompt_estimate = estimated_prompt_tokens(exchange.request.body) if has_prompt else 0
    return exchange.prompt_estimate


def count_used(exchange: "Exchange", model: str, tokens: RequestTokens, now: float) -> None:
    """Count the tokens of an exchange that has ended: for its account, for the limits of its key, and in the ledger.

    `model`: its label; `now`: the time by the state's clock.
    """
    state, account, limits = exchange.state, exchange.account, exchange.limits
    if limits is not None and limits.tokens:
        limits.use_tokens(tokens.prompt + tokens.completion, now)
    if account is not None and exchange.charge is None and exchange.attempts and exchange.request.head.is_inference:
        state.balancer.queue.order.use(account, exchange.model, tokens.prompt + tokens.completion)
    if state.usage is None:
        return
    row = state.usage.row(exchange.key_name, account.user if account is not None else "", model)
    row.requests += 1
    if exchange.status >= 400 or exchange.end in BROKEN_ENDS:
        row.failed += 1
    if exchange.queue_seconds or exchange.waiting_since:
        row.queue_seconds += exchange.queue_seconds + (now - exchange.waiting_since if exchange.waiting_since else 0.0)
    if exchange.stream is not None:
        _count_progress(exchange, exchange.stream, row, tokens, now)
    else:
        row.prompt += tokens.prompt
        row.cached += tokens.cached
        row.completion += tokens.completion
        row.estimated += tokens.estimated


def count_running(exchange: "Exchange", stream: "ResponseStream", model: str) -> None:
    """Count in the ledger what a running stream has used since the last call, so that a killed router loses little.

    Call this once a second. The end of the stream replaces the estimates by what the response reports.
    """
    prompt = prompt_tokens(exchange)
    completion = max(stream.settled_tokens(), stream.accounted_tokens.completion)
    tokens = RequestTokens(prompt, 0, completion, prompt + completion)
    account, sums = exchange.account, exchange.state.usage
    assert sums is not None
    row = sums.row(exchange.key_name, account.user if account is not None else "", model)
    _count_progress(exchange, stream, row, tokens, exchange.state.clock())


def _count_progress(
    exchange: "Exchange", stream: "ResponseStream", row: "UsageEntry", tokens: RequestTokens, now: float
) -> None:
    """Add to a row what a stream has used since the ledger last counted it."""
    began = stream.accounted_at or exchange.first_byte_at or now
    row.add_tokens(tokens, stream.accounted_tokens, now - began)
    stream.accounted_tokens, stream.accounted_at = tokens, now


def _has_used(exchange: "Exchange") -> bool:
    """Return whether an instance has processed the request, as far as the router can know."""
    if exchange.head is not None:
        return 200 <= exchange.head.status < 300
    return exchange.attempts > 0 and exchange.end in UNANSWERED_ENDS


def _is_free(uri: bytes) -> bool:
    return uri.partition(b"?")[0].rpartition(b"/")[2] in FREE_PATHS


def usage_part(end: bytes, data: bytes) -> bytes:
    """Return the bytes from the last field `usage` on in a part of a response's body; empty if there is none.

    `end`: the last bytes before this part. The usage need not be among the body's last bytes, because clients may ask
    for fields that follow it, such as the prompt's token ids. A generated text that contains `"usage"` does not match:
    in a JSON string, the quotation marks are escaped.
    """
    text = end + data
    start = text.rfind(b'"usage"', max(0, len(text) - USAGE_TAIL_BYTES))  # the usage is usually here
    if start < 0:
        start = text.rfind(b'"usage"')
    return text[start : start + USAGE_TAIL_BYTES] if start >= 0 else b""
