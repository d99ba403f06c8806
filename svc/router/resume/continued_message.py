"""Rewrites the events of a continued message, in Anthropic's form. Pure."""

import json
from typing import Any

from svc.router.resume.continuation import Continuation
from svc.router.resume.event_formats import DECODE_ERRORS, read_event, written_message
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.text_join import TextJoin


class ContinuedMessage:
    """The events of a continued message. Its first text goes on in the content block that is open at the client."""

    __slots__ = (
        "_block",
        "_cached_tokens",
        "_has_start",
        "_has_text",
        "_indices",
        "_join",
        "_new_tokens",
        "_next_block",
        "_prompt_tokens",
        "_tokens",
        "ended",
        "failure",
        "finish_reason",
    )

    def __init__(self, partial: PartialAnswer, request: Continuation) -> None:
        self.failure = ""
        self.finish_reason = ""
        self.ended = False  # whether the last event of the answer has come
        self._has_start = partial.has_start
        self._has_text = not request.repeats
        self._block = partial.block  # the client's block that is open
        self._next_block = partial.next_block
        self._indices: dict[int, int] = {}  # index of the instance's block -> index of the client's block
        self._join = TextJoin(request.text_end)
        self._tokens, self._new_tokens = request.tokens, 0
        self._prompt_tokens, self._cached_tokens = partial.prompt_tokens, partial.cached_tokens

    @property
    def stop(self) -> str:
        """The stop text at which the answer has ended, unnoticed by the instance; empty if there is none."""
        return self._join.stop

    def rewrite(self, data: bytes, events: list[bytes]) -> None:
        """Rewrite the event in `data`, and append the events that the client is to get to `events`."""
        try:
            event = read_event(data)
            if self._rewrite(event, events) and not self.failure:
                events.append(written_message(event))
        except (*DECODE_ERRORS, AttributeError, TypeError, KeyError):
            self.failure = "its events cannot be read"

    def _rewrite(self, event: dict[str, Any], events: list[bytes]) -> bool:
        """Rewrite an event, and append events that must precede it; return whether it has anything for the client."""
        match event["type"]:
            case "message_start":
                started, self._has_start = self._has_start, True
                return not started
            case kind if self.finish_reason and kind not in ("message_stop", "ping", "error"):
                return False
            case "content_block_start":
                return self._start_block(event, events)
            case "content_block_delta":
                return self._rewrite_delta(event, events)
            case "content_block_stop":
                index = event["index"] = self._indices[event["index"]]
                is_open = index == self._block
                self._block = None
                return is_open
            case "message_delta":
                self._stop_block(events)
                self.finish_reason = event["delta"].get("stop_reason") or self.finish_reason
                self._add_usage(event.get("usage") or {})
                return True
            case "message_stop" | "ping" as kind:
                self.ended = kind == "message_stop"
                return True
            case "error":
                self.failure = f"it reports an error: {json.dumps(event)[:200]}"
            case kind:
                self.failure = f"it sends an event of type {str(kind)[:100]!r}"
        return False

    def _start_block(self, event: dict[str, Any], events: list[bytes]) -> bool:
        block = event["content_block"]
        is_text = block["type"] == "text"
        if self._has_text and "thinking" in block["type"]:
            self.failure = "it begins to reason anew"
            return False
        if is_text and self._block is not None and not self._indices:
            self._indices[event["index"]] = self._block
            if text := self._join.add(block.get("text") or ""):
                events.append(written_message(_text_delta(self._block, text)))
            return False
        self._stop_block(events)
        if is_text:
            block["text"] = self._join.add(block.get("text") or "")
        self._indices[event["index"]] = self._block = self._next_block
        event["index"] = self._block
        self._next_block += 1
        return True

    def _rewrite_delta(self, event: dict[str, Any], events: list[bytes]) -> bool:
        event["index"] = self._indices[event["index"]]
        delta = event["delta"]
        if delta["type"] != "text_delta":
            return True
        delta["text"] = self._join.add(delta["text"])
        self._new_tokens += 1
        if self.stop:
            self._end_at_stop(event, events)
            return False
        return bool(delta["text"])

    def _end_at_stop(self, event: dict[str, Any], events: list[bytes]) -> None:
        """Append the events with the last text and the end of a message that ends at a stop text."""
        if event["delta"]["text"]:
            events.append(written_message(event))
        self._stop_block(events)
        self.finish_reason = "stop_sequence"
        delta = {"stop_reason": self.finish_reason, "stop_sequence": self.stop}
        usage = {"output_tokens": self._tokens + self._new_tokens}
        events.append(written_message({"type": "message_delta", "delta": delta, "usage": usage}))

    def _stop_block(self, events: list[bytes]) -> None:
        """End the client's open block, if there is one."""
        if self._block is not None:
            events.append(written_message({"type": "content_block_stop", "index": self._block}))
            self._block = None

    def _add_usage(self, usage: dict[str, Any]) -> None:
        """Set an event's usage to that of the whole answer: the first request's prompt, and all generated tokens."""
        if usage.get("output_tokens") is not None:
            usage["output_tokens"] += self._tokens
        if usage.get("input_tokens") is not None:
            known = self._prompt_tokens
            usage["input_tokens"] = max(0, usage["input_tokens"] - self._tokens) if known is None else known
        if usage.get("cache_read_input_tokens") is not None and self._cached_tokens is not None:
            usage["cache_read_input_tokens"] = self._cached_tokens


def _text_delta(index: int, text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
