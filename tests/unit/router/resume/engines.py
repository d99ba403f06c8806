"""Engines that answer in the shapes of vLLM, SGLang and llama.cpp, and clients that read such streams, for tests.

The shapes are those of the engines' own code (vLLM 0.20, SGLang 0.6) and of recorded answers (llama.cpp of October
2026). An engine generates the words of TEXTS in order; asked to continue, it goes on where the request's text ends.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from svc.router.resume.dialect import Dialect

PROMPT_TOKENS = 11
WORDS = [
    "Once",
    " upon",
    " a",
    " time,",
    "\n\n",
    "\tthere",
    " was ",
    "",
    '"quoted"',
    " \\ é",
    "漢字",
    " 😀",
    "  ",
    " end.",
]


def compact(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


class Engine:
    """One shape of stream. `usage`: whether the request asks for it."""

    dialect = Dialect.CHAT
    line_end = "\n"

    def __init__(self, usage: bool = False, reasoning: tuple[str, ...] = (), call: bool = False) -> None:
        self.usage, self.reasoning, self.call = usage, reasoning, call

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        raise NotImplementedError

    def stream(self, words: list[str], prompt: int = PROMPT_TOKENS, number: int = 1, finish: str = "stop") -> bytes:
        """Return the whole stream of an answer."""
        return "".join(self.events(words, prompt, number, finish)).replace("\n", self.line_end).encode()


class Vllm(Engine):
    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        common = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1000 + number, "model": "m"}

        def event(delta: dict[str, Any], reason: str | None = None, **more: Any) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, **more}
            return f"data: {compact({**common, 'choices': [choice]})}\n\n"

        yield event({"role": "assistant", "content": ""})
        for thought in self.reasoning:
            yield event({"reasoning": thought})
        for word in words:
            yield event({"content": word})
        if self.call:
            function = {"name": "f", "arguments": ""}
            yield event({"tool_calls": [{"id": "call-1", "type": "function", "index": 0, "function": function}]})
            yield event({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]})
        yield event({"content": ""}, "tool_calls" if self.call else finish, stop_reason=None)
        if self.usage:
            tokens = len(words) + len(self.reasoning) + 1
            usage = {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens}
            yield f"data: {compact({**common, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"


class VllmContinuousUsage(Vllm):
    """With `continuous_usage_stats`: each event has the usage so far."""

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        count = -1
        for event in super().events(words, prompt, number, finish):
            if event == "data: [DONE]\n\n" or '"usage"' in event:
                yield event
                continue
            count += 1
            fields = json.loads(event[6:])
            fields["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt + count, "completion_tokens": count}
            yield f"data: {compact(fields)}\n\n"


class Sglang(Engine):
    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        common = {"id": f"{number:032x}", "object": "chat.completion.chunk"}

        def event(delta: dict[str, Any], reason: str | None = None, created: int = 0) -> str:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, "matched_stop": None}
            fields = {**common, "created": 1000 * number + created, "model": "m", "choices": [choice], "usage": None}
            return f"data: {compact(fields)}\n\n"

        empty = {"role": None, "content": None, "reasoning_content": None, "tool_calls": None}
        yield event({**empty, "role": "assistant", "content": ""})
        for thought in self.reasoning:
            yield event({**empty, "reasoning_content": thought})
        for n, word in enumerate(words):
            if word:
                yield event({**empty, "content": word}, created=n)
        yield event(empty, finish, created=len(words))
        if self.usage:
            tokens = sum(map(bool, words)) + len(self.reasoning)
            details = {"prompt_tokens_details": None, "reasoning_tokens": 0}
            usage = {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens, **details}
            common = {**common, "created": 1000 * number, "model": "m", "choices": []}
            yield f"data: {compact({**common, 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"


class LlamaCpp(Engine):
    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        def event(choices: list[dict[str, Any]], n: int, **more: Any) -> str:
            created = {"created": 1000 * number + n, "id": f"chatcmpl-{number:x}", "model": "m"}
            fields = {"choices": choices, **created, "system_fingerprint": "b0", "object": "chat.completion.chunk"}
            return f"data: {compact({**fields, **more})}\n\n"

        def choice(delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
            return [{"finish_reason": reason, "index": 0, "delta": delta}]

        yield event(choice({"role": "assistant", "content": None}), 0)
        for thought in self.reasoning:
            yield event(choice({"reasoning_content": thought}), 0)
        for n, word in enumerate(words):
            if n == 3:
                yield ":\n\n"
            if word:
                yield event(choice({"content": word}), n)
        tokens = sum(map(bool, words)) + len(self.reasoning)
        timings = {"cache_n": 3, "prompt_n": prompt - 3, "prompt_ms": 1.5, "predicted_n": tokens}
        if not self.usage:
            yield event(choice({}, finish), len(words), timings=timings)
        else:
            usage = {"completion_tokens": tokens, "prompt_tokens": prompt, "total_tokens": prompt + tokens}
            yield event(choice({}, finish), len(words))
            details = {"prompt_tokens_details": {"cached_tokens": 3}}
            yield event([], len(words), usage={**usage, **details}, timings=timings)
        yield "data: [DONE]\n\n"


class LlamaCppCompletions(Engine):
    dialect = Dialect.COMPLETIONS

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        def event(text: str, reason: str | None, **more: Any) -> str:
            choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}
            common = {"created": 1000 * number, "model": "m", "object": "text_completion", **more}
            return f"data: {compact({'choices': [choice], **common, 'id': f'chatcmpl-{number}'})}\n\n"

        for word in words:
            if word:
                yield event(word, None)
        tokens = sum(map(bool, words))
        usage = {"completion_tokens": tokens, "prompt_tokens": prompt, "total_tokens": prompt + tokens}
        yield event("", finish, usage=usage)
        yield "data: [DONE]\n\n"


class VllmCompletions(Engine):
    dialect = Dialect.COMPLETIONS

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        common = {"id": f"cmpl-{number}", "object": "text_completion", "created": 1000 * number, "model": "m"}
        last = len(words) - 1
        for n, word in enumerate(words or [""]):
            choice = {"index": 0, "text": word, "logprobs": None, "finish_reason": finish if n >= last else None}
            yield f"data: {compact({**common, 'choices': [{**choice, 'stop_reason': None}]})}\n\n"
        if self.usage:
            tokens = len(words)
            usage = {"prompt_tokens": prompt, "total_tokens": prompt + tokens, "completion_tokens": tokens}
            yield f"data: {compact({**common, 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"


class LlamaCppMessages(Engine):
    dialect = Dialect.MESSAGES
    pings = False

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        def event(kind: str, **fields: Any) -> str:
            return f"event: {kind}\ndata: {compact({'type': kind, **fields})}\n\n"

        usage = {"cache_read_input_tokens": 3, "input_tokens": prompt - 3, "output_tokens": 0}
        message = {"id": f"chatcmpl-{number}", "type": "message", "role": "assistant", "content": [], "model": "m"}
        stops = {"stop_reason": None, "stop_sequence": None}
        yield event("message_start", message={**message, **stops, "usage": usage})
        texts = [word for word in words if word]
        for n, word in enumerate(texts):
            if n == 0:
                yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
            if n == 2 and self.pings:
                yield event("ping")
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        if texts:
            yield event("content_block_stop", index=0)
        reason = {"stop": "end_turn", "length": "max_tokens"}[finish]
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield event("message_delta", delta=delta, usage={"output_tokens": len(texts)})
        yield event("message_stop")


class VllmMessages(LlamaCppMessages):
    pings = True

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        for event in super().events(words, prompt, number, finish):
            yield event.replace('"usage":{"output_tokens"', f'"usage":{{"input_tokens":{prompt - 3},"output_tokens"')


class Spaced(LlamaCpp):
    """CR LF, blanks in the JSON, other characters escaped, comments, and the data of an event in several lines."""

    line_end = "\r\n"

    def events(self, words: list[str], prompt: int, number: int, finish: str) -> Iterator[str]:
        yield ": hello\n\n"
        for event in super().events(words, prompt, number, finish):
            if event.startswith("data: {"):
                lines = json.dumps(json.loads(event[6:]), indent=1).split("\n")
                event = "id: 7\nretry: 3\n" + "".join(f"data:{line}\n" for line in lines) + "\n"
            yield event


class CarriageReturns(Spaced):
    line_end = "\r"


class Client:
    """What a client has received: it parses every event, and fails as a strict one would."""

    def __init__(self, stream: bytes) -> None:
        self.text = self.reasoning = ""
        self.ids: set[Any] = set()
        self.roles = self.starts = self.dones = 0
        self.finishes: list[str] = []
        self.usages: list[dict[str, Any]] = []
        self.calls: list[Any] = []
        self._open: int | None = None
        self._blocks = 0
        for data in payloads(stream):
            assert not self.dones, "an event follows the last one"
            if data == "[DONE]":
                self.dones += 1
                continue
            event = json.loads(data)
            assert "error" not in event
            if "type" in event:
                self._read_message(event)
            else:
                self._read_completion(event)
        self.text = self.text.encode("utf-16", "surrogatepass").decode("utf-16")

    def _read_completion(self, event: dict[str, Any]) -> None:
        self.ids.add((event["id"], event["model"]))
        if event.get("usage"):
            self.usages.append(event["usage"])
        for choice in event["choices"]:
            assert choice["index"] == 0
            delta = choice.get("delta", choice)
            self.roles += bool(delta.get("role"))
            self.text += delta.get("content") or delta.get("text") or ""
            self.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
            self.calls += delta.get("tool_calls") or []
            self.finishes += [choice["finish_reason"]] if choice["finish_reason"] else []

    def _read_message(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "message_start":
                self.roles += 1
                self.ids.add((event["message"]["id"], event["message"]["model"]))
            case "content_block_start":
                assert self._open is None
                assert event["index"] == self._blocks
                self._open = event["index"]
                self._blocks += 1
            case "content_block_delta":
                assert event["index"] == self._open
                self.text += event["delta"]["text"]
            case "content_block_stop":
                assert event["index"] == self._open
                self._open = None
            case "message_delta":
                assert self._open is None
                self.finishes.append(event["delta"]["stop_reason"])
                self.usages.append(event["usage"])
            case "message_stop":
                self.dones += 1
            case kind:
                assert kind == "ping"


def payloads(stream: bytes) -> Iterable[str]:
    """Yield the data of each event as a browser's EventSource does (HTML standard, 9.2.6)."""
    data: list[str] = []
    for line in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if data:
                yield "\n".join(data)
            data = []
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
    assert not data, "the stream ends in the middle of an event"
