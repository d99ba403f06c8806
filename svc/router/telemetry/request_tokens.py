"""The tokens that one request has used: of its prompt, how many of these were cached, and of its completion. Pure.

They come from the `usage` of the response, in the formats of OpenAI's and Anthropic's APIs and of vLLM, SGLang,
llama.cpp, TGI and Ollama. Where a response does not report a number, it is estimated: a completion by the events of the
stream, a prompt by the bytes of the request.
"""

import re
from typing import Annotated

import msgspec

BYTES_PER_TOKEN = 4  # for a prompt in JSON, whose punctuation makes up for the tokens that a chat template adds
MAX_REQUEST_TOKENS = 100_000_000  # limit for a prompt or a completion, so that sums fit into 64 bits
# Before a picture or sound in base64, whose bytes say nothing about its tokens: in a data URL, or in a field `data`.
MEDIA_MARKS = (b";base64,", b'"data":"', b'"data": "')
_MEDIA = re.compile(rb"[A-Za-z0-9+/=_\\-]*")  # base64 in JSON; a text that follows such a mark has blanks as well

_USAGE_NAMES = (
    b"prompt_tokens",
    b"completion_tokens",
    b"total_tokens",
    b"cached_tokens",
    b"input_tokens",  # in Anthropic's Messages and OpenAI's Responses
    b"output_tokens",
    b"cache_read_input_tokens",  # in Anthropic's Messages, where `input_tokens` are without these two
    b"cache_creation_input_tokens",
    b"prompt_cache_hit_tokens",  # in DeepSeek's API
)
_NATIVE_NAMES = (
    b"prompt_n",  # in llama.cpp's `timings`, without the cached tokens, which `cache_n` has
    b"cache_n",
    b"predicted_n",
    b"prompt_eval_count",  # in Ollama's API
    b"eval_count",
    b"input_length",  # in TGI's `details`
    b"generated_tokens",
)
_USAGE = re.compile(rb'"(%b)" ?: ?(\d{1,12})' % b"|".join(_USAGE_NAMES))
_NATIVE = re.compile(rb'"(%b)" ?: ?(\d{1,12})' % b"|".join(_NATIVE_NAMES))
_MAX_NAME_START_CHARS = 1 + max(map(len, _USAGE_NAMES))  # 1: the opening quotation mark


Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_REQUEST_TOKENS)]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """The tokens that a response reports; None for a number that it does not report."""

    prompt: int | None = None  # includes cached tokens
    cached: int | None = None
    completion: int | None = None


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: Tokens | None = None


class _ChatUsage(msgspec.Struct, gc=False):
    """The usage in OpenAI's Chat Completions. One with names of other formats is not decoded; `_usage` reads it."""

    prompt_tokens: Tokens
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    cached_tokens: None = None
    input_tokens: None = None
    output_tokens: None = None
    prompt_cache_hit_tokens: None = None


class _ChatResponse(msgspec.Struct, gc=False):
    usage: _ChatUsage


_decode_chat_response = msgspec.json.Decoder(_ChatResponse).decode


class RequestTokens(msgspec.Struct, frozen=True, gc=False):
    """The tokens that a request has used."""

    prompt: int = 0  # includes cached tokens
    cached: int = 0
    completion: int = 0
    estimated: int = 0  # how many of the tokens of prompt and completion are estimated

    @property
    def total(self) -> int:
        return self.prompt + self.completion


NO_USAGE = Usage()
NO_TOKENS = RequestTokens()


def read_usage(excerpt: bytes) -> Usage:
    """Return the tokens that a response reports. `excerpt`: the parts of the response that may contain its usage.

    A stream may report its usage several times; no number in it decreases.
    """
    if not excerpt:
        return NO_USAGE
    start = excerpt.rfind(b'"usage"')
    if start >= 0 and (usage := _chat_usage(excerpt, start)) is not None:
        return usage
    start = excerpt.find(b"_tokens")
    if start >= 0 and (fields := _USAGE.findall(excerpt, max(0, start - _MAX_NAME_START_CHARS))):
        return _usage(_largest(fields))
    if start >= 0 or b'"timings"' in excerpt or b"eval_count" in excerpt:
        return _native_usage(_largest(_NATIVE.findall(excerpt)))
    return NO_USAGE


def _chat_usage(excerpt: bytes, start: int) -> Usage | None:
    """Return the usage if it is one of OpenAI's Chat Completions: most are, and this takes a fifth of the time.

    `start`: the position of `"usage"`. With a brace put before it, the text from there to the end of the response, or
    of its event, is a JSON object.
    """
    end = excerpt.find(b"\n", start)
    try:
        usage = _decode_chat_response(b"{" + (excerpt[start:] if end < 0 else excerpt[start:end])).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    details = usage.prompt_tokens_details
    return Usage(usage.prompt_tokens, None if details is None else details.cached_tokens, usage.completion_tokens)


def request_tokens(usage: Usage, events: int, prompt: int) -> RequestTokens:
    """Return the tokens of a request, with an estimate in place of each number that its response does not report.

    `events`: the events of the response that carry a token, 0 if it is no stream; `prompt`: the estimated tokens of the
    prompt. Whatever the response reports is at most MAX_REQUEST_TOKENS.
    """
    estimated = 0
    if usage.prompt is not None:
        prompt = usage.prompt
    else:
        estimated = prompt
    completion = usage.completion
    if completion is None:
        completion = events
        estimated += events
    return RequestTokens(prompt, min(usage.cached or 0, prompt), completion, estimated)


def estimated_prompt_tokens(body: bytes) -> int:
    """Return the estimated number of tokens of the prompt in a body of JSON.

    The JSON is not read, because that takes milliseconds for a long one. Pictures and sound in it do not count.
    """
    return min((len(body) - _media_bytes(body)) // BYTES_PER_TOKEN, MAX_REQUEST_TOKENS)


def _media_bytes(body: bytes) -> int:
    """Return how many bytes of a body are pictures and sound in base64."""
    size = 0
    for mark in MEDIA_MARKS:
        start = body.find(mark)
        while start >= 0:
            media = _MEDIA.match(body, start + len(mark))
            assert media is not None
            size += media.end() - media.start()
            start = body.find(mark, media.end())
    return size


def _largest(fields: list[tuple[bytes, bytes]]) -> dict[bytes, int]:
    numbers: dict[bytes, int] = {}
    for name, digits in fields:
        number = int(digits)
        if number >= numbers.get(name, 0):
            numbers[name] = min(number, MAX_REQUEST_TOKENS)
    return numbers


def _usage(numbers: dict[bytes, int]) -> Usage:
    """Return the usage. Of two names for one number, the larger number counts.

    A response of the Responses API repeats the client's tools, whose schemas may have fields with any of these names.
    """
    prompt, completion = numbers.get(b"prompt_tokens"), _larger(numbers, b"completion_tokens", b"output_tokens")
    cached = numbers.get(b"cached_tokens", numbers.get(b"prompt_cache_hit_tokens"))
    if (input_tokens := numbers.get(b"input_tokens")) is not None:
        if b"cache_read_input_tokens" in numbers or b"cache_creation_input_tokens" in numbers:
            cached = numbers.get(b"cache_read_input_tokens", 0)
            input_tokens += cached + numbers.get(b"cache_creation_input_tokens", 0)
        prompt = max(input_tokens, prompt or 0)
    if prompt is None and b"total_tokens" in numbers:  # a reranker of vLLM reports nothing else
        prompt = max(0, numbers[b"total_tokens"] - (completion or 0))
    return Usage(prompt, cached, completion)


def _larger(numbers: dict[bytes, int], name: bytes, other: bytes) -> int | None:
    return (
        max(numbers[name], numbers[other])
        if name in numbers and other in numbers
        else numbers.get(name, numbers.get(other))
    )


def _native_usage(numbers: dict[bytes, int]) -> Usage:
    if b"prompt_n" in numbers:
        cached = numbers.get(b"cache_n", 0)
        return Usage(numbers[b"prompt_n"] + cached, cached, numbers.get(b"predicted_n"))
    prompt = numbers.get(b"prompt_eval_count", numbers.get(b"input_length"))
    return Usage(prompt, None, numbers.get(b"eval_count", numbers.get(b"generated_tokens")))
