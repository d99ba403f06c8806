import pytest

from svc.router.telemetry.token_count import (
    EXAMINED_BYTES,
    RECENT_EVENTS,
    TokenCounter,
    carries_token,
    ends_stream,
    is_done,
)
from tests.cpu import reference_cost

CHAT = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"text","choices":[%b]%b}'


def chat(delta: bytes, finish: bytes = b"null", more: bytes = b"") -> bytes:
    """Return a chunk as vLLM writes it."""
    choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}' % (delta, finish)
    return b"data: " + CHAT % (choice, more)


def anthropic(kind: bytes, fields: bytes = b"") -> bytes:
    return b'event: %b\ndata: {"type":"%b"%b}' % (kind, kind, fields)


def responses(kind: bytes, fields: bytes = b"") -> bytes:
    return anthropic(b"response." + kind, b',"sequence_number":4' + fields)


WORD = chat(b'{"content":"Hi"}')
TOKENS = {
    "chat": WORD,
    "chat with spaces": b'data: {"choices": [{"index": 0, "delta": {"content" : "Hi"}}]}',
    "chat with a quotation mark": chat(rb'{"content":"\""}'),
    "chat without a space after the colon": b"data:" + CHAT % (b'{"delta":{"content":"Hi"}}', b""),
    "chat of CRLF lines": b"id: 4\r\n" + WORD,
    "Azure, logprobs first": b'data: {"choices":[{"logprobs":{"content":[{"token":"Hi"}]},"delta":{"content":"Hi"}}]}',
    "Mistral's content in parts": chat(b'{"content":[{"type":"text","text":"Hi"}]}'),
    "completions": b'data: {"object":"text_completion","choices":[{"index":0,"text":" Hi","logprobs":null}]}',
    "vLLM's last token with its reason": chat(b'{"content":"Hi","tool_calls":[]}', b'"length"'),
    "vLLM's reasoning": chat(b'{"reasoning":"Hm","reasoning_content":"Hm"}'),
    "SGLang's reasoning": chat(b'{"role":null,"content":null,"reasoning_content":"Hm","tool_calls":null}'),
    "SGLang's generate": b'data: {"text":"Hi","meta_info":{"id":"1","finish_reason":null,"completion_tokens":1}}',
    "a tool call": chat(
        b'{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}'
    ),
    "a tool call's arguments": chat(b'{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\""}}]}'),
    "the older function call": chat(b'{"function_call":{"name":"f","arguments":""}}'),
    "a refusal": chat(b'{"refusal":"No"}'),
    "llama.cpp's completion": b'data: {"index":0,"content":" Hi","tokens":[5],"stop":false,"id_slot":-1}',
    "TGI, the role in every chunk": chat(b'{"role":"assistant","content":"Hi","tool_call_id":null}'),
    "TGI's generate_stream": b'data:{"index":1,"token":{"id":5,"text":"Hi","logprob":-1.0},"generated_text":null}',
    "Ollama, the role in every chunk": chat(b'{"role":"assistant","content":"Hi"}'),
    "Ollama's reasoning": chat(b'{"role":"assistant","content":"","reasoning":"Hm"}'),
    "Anthropic's text": anthropic(b"content_block_delta", b',"index":0,"delta":{"type":"text_delta","text":"Hi"}'),
    "Anthropic's thinking": anthropic(b"content_block_delta", b',"delta":{"type":"thinking_delta","thinking":"Hm"}'),
    "Anthropic's tool": anthropic(b"content_block_delta", b',"delta":{"type":"input_json_delta","partial_json":"{"}'),
    "Anthropic without an event line": b'data: {"type":"content_block_delta","delta":{"text":"Hi"}}',
    "Responses' text": responses(b"output_text.delta", b',"item_id":"msg_1","delta":"Hi","logprobs":[]'),
    "Responses' reasoning": responses(b"reasoning_summary_text.delta", b',"delta":"Hm"'),
    "Responses' tool": responses(b"function_call_arguments.delta", b',"delta":"{"'),
    "vLLM's Responses, the type last": b'event: response.output_text.delta\ndata: {"delta":"Hi","type":"response"}',
    "a transcript": b'data: {"type":"transcript.text.delta","delta":"Hi"}',
    "a number": b"data: 1",
    "a word": b"data: x",
    "another format": b'data: {"step":4}',
    "a picture": b'data: {"type":"image_generation.partial_image","b64_json":"iV"}',
    "an event of its own name": b"event: x\ndata: y",
}
OTHERS = {
    "nothing": b"",
    "a comment": b": ping",
    "OpenRouter's comment": b": OPENROUTER PROCESSING",
    "a retry": b"retry: 3000",
    "a name without data": b"event: heartbeat",
    "empty data": b"data:",
    "blank data": b"data: ",
    "[DONE]": b"data: [DONE]",
    "[DONE] without a space": b"data:[DONE]",
    "the role": chat(b'{"role":"assistant","content":""}'),
    "the role with null": chat(b'{"role":"assistant","content":null,"refusal":null}'),
    "vLLM's role": chat(b'{"role":"assistant","content":"","reasoning_content":null,"tool_calls":[]}'),
    "Azure's filter results": b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}',
    "llama.cpp's progress": chat(b'{"role":"assistant","content":null}', more=b',"prompt_progress":{"total":9}'),
    "the reason": chat(b"{}", b'"stop"'),
    "vLLM's reason": chat(b'{"content":""}', b'"stop"', b',"usage":null'),
    "completions' reason": b'data: {"choices":[{"index":0,"text":"","finish_reason":"stop"}]}',
    "usage": b"data: " + CHAT % (b"", b',"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}'),
    "llama.cpp's timings": chat(b"{}", b'"stop"', b',"timings":{"prompt_n":9,"predicted_n":5}'),
    "llama.cpp's last": b'data: {"index":0,"content":"","tokens":[],"stop":true,"prompt":"Say \\"content\\": \\"x\\""}',
    "an error": b'data: {"error":{"message":"out of memory","type":"server_error","code":500}}',
    "a quoted token": chat(b'{"role":"assistant"}', more=rb',"note":"{\"content\": \"x\"}"'),
    "message_start": anthropic(b"message_start", b',"message":{"content":[],"usage":{"output_tokens":1}}'),
    "content_block_start": anthropic(b"content_block_start", b',"content_block":{"type":"text","text":""}'),
    "Anthropic's ping": b'event: ping\ndata: {"type": "ping"}',
    "ping without an event line": b'data: {"type": "ping"}',
    "a signature": anthropic(b"content_block_delta", b',"delta":{"type":"signature_delta","signature":"Eq"}'),
    "an empty tool": anthropic(b"content_block_delta", b',"delta":{"type":"input_json_delta","partial_json":""}'),
    "content_block_stop": anthropic(b"content_block_stop", b',"index":0'),
    "message_delta": anthropic(b"message_delta", b',"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}'),
    "message_stop": anthropic(b"message_stop"),
    "Anthropic's error": anthropic(b"error", b',"error":{"type":"overloaded_error","message":"Overloaded"}'),
    "created": responses(b"created", b',"response":{"id":"resp_1","instructions":"Hi","metadata":{"text":"Hi"}}'),
    "in_progress": responses(b"in_progress", b',"response":{"id":"resp_1"}'),
    "output_item.added": responses(b"output_item.added", b',"item":{"type":"message","content":[]}'),
    "content_part.added": responses(b"content_part.added", b',"part":{"type":"output_text","text":""}'),
    "output_text.done": responses(b"output_text.done", b',"text":"Hi"'),
    "content_part.done": responses(b"content_part.done", b',"part":{"type":"output_text","text":"Hi"}'),
    "output_item.done": responses(b"output_item.done", b',"item":{"content":[{"text":"Hi"}]}'),
    "completed": responses(b"completed", b',"response":{"output":[{"content":[{"text":"Hi"}]}]}'),
    "an empty delta": responses(b"output_text.delta", b',"delta":""'),
    "transcript.text.done": b'data: {"type":"transcript.text.done","text":"Hi"}',
}


@pytest.mark.parametrize("event", TOKENS.values(), ids=TOKENS)
def test_events_with_text_or_a_call_carry_a_token(event: bytes):
    assert carries_token(event)


@pytest.mark.parametrize("event", OTHERS.values(), ids=OTHERS)
def test_roles_pings_usage_and_ends_carry_no_token(event: bytes):
    assert not carries_token(event)


@pytest.mark.parametrize("table", [TOKENS, OTHERS], ids=["tokens", "others"])
@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_lines_may_end_with_lf_or_crlf(table: dict[str, bytes], end: bytes):
    for event in table.values():
        assert carries_token(event.replace(b"\n", end)) == (table is TOKENS), event


LAST = ("[DONE]", "[DONE] without a space", "message_stop", "completed")


@pytest.mark.parametrize("name", [*TOKENS, *OTHERS])
def test_each_protocol_has_its_last_event(name: str):
    assert ends_stream({**TOKENS, **OTHERS}[name]) == (name in LAST)


@pytest.mark.parametrize("kind", [b"failed", b"incomplete"])
def test_a_failed_response_is_at_its_end(kind: bytes):
    assert ends_stream(responses(kind, b',"response":{"status":"%b"}' % kind))


def test_done_needs_all_its_letters_but_no_empty_line():
    assert is_done(bytearray(b"data: [DONE]"))
    assert not is_done(b"data: [DON")


@pytest.mark.parametrize(
    "event",
    [
        b"data: " + b"A" * 8_000_000,
        b'data: {"' + b" " * 8_000_000,
        b'"content"' * 900_000,
        b'data: {"type"' + b" " * 8_000_000 + b":",
        b"\r\ndata:" * 900_000,
        b": x\r\n\r" * 900_000,
        b'"tool_calls"  :  [' * 500_000,
    ],
    ids=["a picture", "blanks", "keys", "a type", "lines", "comments", "calls"],
)
def test_a_long_event_costs_no_more_than_a_short_one(event: bytes):
    assert reference_cost(lambda: carries_token(event)) < 1


def test_a_token_beyond_the_examined_bytes_is_not_counted():
    assert not carries_token(b'data: {"choices":[{"logprobs":"%b","text":"Hi"}]}' % (b"x" * EXAMINED_BYTES))


# Counting.

ENDS = {
    "chat": [chat(b"{}", b'"stop"'), OTHERS["usage"], b"data: [DONE]"],
    "anthropic": [OTHERS[name] for name in ("content_block_stop", "message_delta", "message_stop")],
    "responses": [OTHERS[name] for name in ("output_text.done", "content_part.done", "output_item.done", "completed")],
    "none": [],
}
STARTS = {
    "chat": [OTHERS["a comment"], OTHERS["the role"]],
    "anthropic": [OTHERS[name] for name in ("message_start", "content_block_start", "Anthropic's ping")],
    "responses": [OTHERS[name] for name in ("created", "in_progress", "output_item.added", "content_part.added")],
    "none": [],
}
WORDS = {
    "chat": WORD,
    "anthropic": TOKENS["Anthropic's text"],
    "responses": TOKENS["Responses' text"],
    "none": b"data: 1",
}


@pytest.mark.parametrize("together", [1, 2, 3, 99])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("protocol", ENDS)
def test_only_tokens_are_counted(protocol: str, end: bytes, together: int):
    events = [*STARTS[protocol], *[WORDS[protocol]] * 10, *ENDS[protocol]]
    counter = TokenCounter()
    for at in range(0, len(events), together):
        counter.add(b"".join(event + end for event in events[at : at + together]))
    assert counter.total() == 10
    assert counter.complete() == (protocol != "none")


def test_nothing_is_counted_before_the_first_token():
    counter = TokenCounter()
    for event in STARTS["anthropic"] * 5:
        counter.add(event + b"\n\n")
    assert (counter.count, counter.total()) == (0, 0)


def test_a_stream_with_only_an_end_has_no_token():
    counter = TokenCounter()
    counter.add(b"data: [DONE]\n\n")
    assert (counter.total(), counter.complete()) == (0, True)


def test_chunks_that_passed_unread_are_examined_at_the_end():
    """`Exchange.passes` keeps a chunk as it came, with its size, and counts it as one event."""
    counter = TokenCounter()
    counter.add(WORD + b"\n\n")
    for event in (WORD, b"\n\n".join([WORD, ENDS["chat"][0]]), b"\n\n".join(ENDS["chat"])):
        counter.count += 1
        counter.recent.append(b"%x\r\n%b\n\n\r\n" % (len(event) + 2, event))
    assert (counter.total(), counter.complete()) == (3, True)


def test_a_long_event_in_parts_is_one():
    counter = TokenCounter()
    long = responses(b"completed", b',"response":{"output":"%b","usage":{"output_tokens":5}}' % (b"A" * 100_000))
    counter.add(TOKENS["Responses' text"] + b"\n\n" + long[:70_000])
    assert not counter.complete()
    counter.add(long[70_000:] + b"\n\n")
    assert (counter.total(), counter.complete()) == (1, True)
    assert counter.recent[-1].endswith(b'"usage":{"output_tokens":5}}}')
    assert len(counter.recent[-1]) < 20_000


def test_a_long_event_whose_end_comes_with_others_is_one():
    counter = TokenCounter()
    counter.add(b"data: " + b"A" * 100)
    counter.add(b"\n\n" + WORD + b"\n\n\n")
    counter.add(WORD + b"\n\n")
    assert counter.total() == 3


def test_the_kept_events_do_not_grow():
    counter = TokenCounter()
    for _ in range(100):
        counter.add(b"data: " + b"A" * 100_000 + b"\n\n")
    assert len(counter.recent) == RECENT_EVENTS
    assert sum(map(len, counter.recent)) < RECENT_EVENTS * 10_000
