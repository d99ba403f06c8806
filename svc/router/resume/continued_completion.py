"""Rewrites the events of a continued chat or completion, in OpenAI's form. Pure."""

import json
from typing import Any

from svc.router.resume.continuation import Continuation
from svc.router.resume.event_formats import DECODE_ERRORS, DONE, read_event, written
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.text_join import TextJoin

NO_VALUE: tuple[object, ...] = (None, "", [], {})


class ContinuedCompletion:
    """The events of a continued chat or completion."""

    __slots__ = (
        "_cached_tokens",
        "_common",
        "_has_content",
        "_has_role",
        "_join",
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
        self._common = (
            {"id": partial.id, "model": partial.model, "created": partial.created} if partial.has_start else {}
        )
        self._has_role = partial.has_start
        self._has_content = not request.repeats
        self._join = TextJoin(request.text_end)
        self._tokens = request.tokens
        self._prompt_tokens, self._cached_tokens = partial.prompt_tokens, partial.cached_tokens

    @property
    def stop(self) -> str:
        """The stop text at which the answer has ended, unnoticed by the instance; empty if there is none."""
        return self._join.stop

    def rewrite(self, data: bytes, events: list[bytes]) -> None:
        """Rewrite the event in `data`, and append the result to `events` if the client is to get it."""
        if data.strip() == DONE:
            events.append(b"data: [DONE]\n\n")
            self.ended = True
            return
        try:
            event = read_event(data)
            passes = self._rewrite(event)
        except (*DECODE_ERRORS, AttributeError, TypeError, KeyError):
            self.failure = "its events cannot be read"
            return
        if passes and not self.failure:
            events.append(written(event))

    def _rewrite(self, event: dict[str, Any]) -> bool:
        """Rewrite an event; return whether it has anything for the client."""
        choices = event.get("choices")
        if event.get("error") or not isinstance(choices, list):
            self.failure = f"it reports an error: {json.dumps(event)[:200]}"
            return False
        if len(choices) > 1 or (choices and choices[0].get("index")):
            self.failure = "it sends several choices"
            return False
        for name, common in self._common.items():
            if name in event and common is not None:
                event[name] = common
        if event.get("usage"):
            self._add_usage(event["usage"])
        if event.get("timings"):
            self._add_timings(event["timings"])
        return not choices or self._rewrite_choice(choices[0])

    def _rewrite_choice(self, choice: dict[str, Any]) -> bool:
        """Rewrite the choice of an event; return whether it has anything for the client."""
        if self.finish_reason:
            return False
        has_text = self._rewrite_text(choice, "text") if "text" in choice else self._rewrite_delta(choice)
        if self._join.stop:
            choice["finish_reason"] = "stop"
        self.finish_reason = choice.get("finish_reason") or ""
        return has_text or bool(self.finish_reason)

    def _rewrite_delta(self, choice: dict[str, Any]) -> bool:
        """Rewrite the delta of a chat's event; return whether it has anything for the client."""
        delta = choice.get("delta")
        if delta is None:
            return False
        is_second_role = "role" in delta and self._has_role
        if is_second_role:
            del delta["role"]
        self._has_role = True
        if self._has_content and (delta.get("reasoning_content") or delta.get("reasoning")):
            self.failure = "it begins to reason anew"
            return False
        has_text = self._rewrite_text(delta, "content")
        has_more = any(item not in NO_VALUE for name, item in delta.items() if name != "content")
        if is_second_role and delta.get("content") is None:
            delta.pop("content", None)
        return has_text or has_more

    def _rewrite_text(self, parent: dict[str, Any], name: str) -> bool:
        """Remove the part that the client has from the text `parent[name]`; return whether any text is left."""
        text = parent.get(name)
        if not text:
            return False
        if not isinstance(text, str):
            raise TypeError(f"{name} is no text")
        text = parent[name] = self._join.add(text)
        return bool(text)

    def _add_usage(self, usage: dict[str, Any]) -> None:
        """Set an event's usage to that of the whole answer: the first request's prompt, and all generated tokens."""
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if prompt is not None:
            known = self._prompt_tokens
            prompt = usage["prompt_tokens"] = max(0, prompt - self._tokens) if known is None else known
            details = usage.get("prompt_tokens_details")
            if details and details.get("cached_tokens") is not None:
                cached = self._cached_tokens
                details["cached_tokens"] = min(details["cached_tokens"] if cached is None else cached, prompt)
        if completion is not None:
            completion = usage["completion_tokens"] = completion + self._tokens
        if usage.get("total_tokens") is not None:
            usage["total_tokens"] = (prompt or 0) + (completion or 0)

    def _add_timings(self, timings: dict[str, Any]) -> None:
        """Set the counts in llama.cpp's timings to those of the whole answer."""
        if timings.get("predicted_n") is not None:
            timings["predicted_n"] += self._tokens
        if timings.get("prompt_n") is not None:
            cached = timings.get("cache_n") or 0
            known = self._prompt_tokens
            prompt = max(0, timings["prompt_n"] + cached - self._tokens) if known is None else known
            timings["prompt_n"] = max(0, prompt - cached)
            timings["cache_n"] = min(cached, prompt)
