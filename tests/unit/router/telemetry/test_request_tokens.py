import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.telemetry.request_tokens import (
    MAX_REQUEST_TOKENS,
    NO_USAGE,
    RequestTokens,
    Usage,
    estimated_prompt_tokens,
    read_usage,
    request_tokens,
)

ANTHROPIC_START = b'{"usage":{"input_tokens":3,"cache_creation_input_tokens":10,"cache_read_input_tokens":100}}\n\n'
USAGE = {
    "OpenAI's chat": (
        b'"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":'
        b'{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":2}}',
        Usage(9, 4, 5),
    ),
    "OpenAI's responses": (
        b'"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"total_tokens":14}',
        Usage(9, 4, 5),
    ),
    "embeddings": (b'"usage": {"prompt_tokens": 9, "total_tokens": 9}', Usage(9, None, None)),
    "vLLM's rerank": (b'"usage":{"total_tokens":9}', Usage(9, None, None)),
    "a blank before the colon": (b'"usage" : {"input_tokens" : 9}', Usage(9, None, None)),
    "Anthropic's messages": (ANTHROPIC_START + b'{"usage":{"output_tokens":5}}', Usage(113, 100, 5)),
    "Anthropic's totals at the end": (
        ANTHROPIC_START + ANTHROPIC_START + b'{"usage":{"input_tokens":3,"output_tokens":5}}',
        Usage(113, 100, 5),
    ),
    "zeros at the end": (b'{"input_tokens":9} {"input_tokens":0,"output_tokens":5}', Usage(9, None, 5)),
    "vLLM's usage in each event": (
        b'{"prompt_tokens":9,"completion_tokens":4} {"prompt_tokens":9,"completion_tokens":5}',
        Usage(9, None, 5),
    ),
    "DeepSeek's cache": (
        b'{"prompt_tokens":9,"completion_tokens":5,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":5}',
        Usage(9, 4, 5),
    ),
    "SGLang's generate": (b'"meta_info":{"prompt_tokens":9,"completion_tokens":5,"cached_tokens":4}', Usage(9, 4, 5)),
    "llama.cpp's timings": (b'"timings":{"cache_n":4,"prompt_n":5,"prompt_ms":1.5,"predicted_n":5}', Usage(9, 4, 5)),
    "llama.cpp's usage and timings": (
        b'"usage":{"completion_tokens":5,"prompt_tokens":9},"timings":{"cache_n":0,"prompt_n":1,"predicted_n":5}',
        Usage(9, None, 5),
    ),
    "Ollama": (b'"done":true,"prompt_eval_count":9,"prompt_eval_duration":4,"eval_count":5}', Usage(9, None, 5)),
    "TGI's details": (b'"details":{"generated_tokens":5,"input_length":9}', Usage(9, None, 5)),
    "a tool with such fields": (
        b'"tools":[{"parameters":{"prompt_tokens":0,"completion_tokens":0}}],'
        b'"usage":{"input_tokens":9,"output_tokens":5,"total_tokens":14}',
        Usage(9, None, 5),
    ),
    "a text": (rb'"text": "\"prompt_tokens\": 9"', NO_USAGE),
    "null": (b'"usage":{"prompt_tokens":null}', NO_USAGE),
    "nothing": (b"", NO_USAGE),
}


@pytest.mark.parametrize(("excerpt", "usage"), USAGE.values(), ids=USAGE)
def test_usage_is_read_in_the_formats_of_all_engines(excerpt: bytes, usage: Usage):
    assert read_usage(excerpt) == usage


def test_usage_that_no_engine_can_have_is_limited():
    usage = read_usage(b'{"prompt_tokens":999999999999999999999,"completion_tokens":99999999999}')
    assert usage == Usage(MAX_REQUEST_TOKENS, None, MAX_REQUEST_TOKENS)


@given(st.binary(max_size=200), st.sampled_from([excerpt for excerpt, _ in USAGE.values()]), st.integers(0, 200))
def test_no_bytes_of_an_instance_fail_or_report_too_much(noise: bytes, excerpt: bytes, cut: int):
    usage = read_usage(noise + excerpt[cut:] + noise)
    assert all(number is None or 0 <= number <= 3 * MAX_REQUEST_TOKENS for number in msgspec.structs.astuple(usage))


@pytest.mark.parametrize(
    ("usage", "events", "prompt", "tokens"),
    [
        (Usage(9, 4, 5), 6, 20, RequestTokens(9, 4, 5, 0)),
        (Usage(9, None, None), 0, 20, RequestTokens(9, 0, 0, 0)),  # embeddings
        (Usage(9, 4, None), 6, 20, RequestTokens(9, 4, 6, 6)),  # a stream of Anthropic's that was cut
        (NO_USAGE, 6, 20, RequestTokens(20, 0, 6, 26)),
        (Usage(9, 400, 5), 0, 0, RequestTokens(9, 9, 5, 0)),
    ],
)
def test_only_what_a_response_does_not_report_is_estimated(
    usage: Usage, events: int, prompt: int, tokens: RequestTokens
):
    assert request_tokens(usage, events, prompt) == tokens


@pytest.mark.parametrize("before", [b" " * 100, b"\xef\xbb\xbf", b""])
def test_no_prefix_hides_a_prompt_from_the_estimate(before: bytes):
    words = b"word " * 1000
    body = before + b'{"prompt": ";base64,word %b"}' % words
    assert estimated_prompt_tokens(body) >= len(words) // 4


def test_the_prompt_is_estimated_from_its_bytes_without_pictures():
    text = {"role": "user", "content": "word " * 100}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "B" * 100_000, "format": "wav"}}
    body = msgspec.json.encode({"messages": [text]})
    assert estimated_prompt_tokens(body) == len(body) // 4
    assert estimated_prompt_tokens(b"    " + body) == len(body) // 4 + 1
    for encode in (msgspec.json.encode, lambda value: json.dumps(value).encode()):
        content = encode({"messages": [text, {"role": "user", "content": [picture, sound, picture]}]})
        assert estimated_prompt_tokens(content) == (len(content) - 300_000) // 4
    assert estimated_prompt_tokens(b"") == 0
    assert estimated_prompt_tokens(b'{"url": "data:image/png;base64,AAAA') < 10
