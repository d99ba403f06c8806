"""Whether a broken answer may be continued at another instance, and if not, why. Pure.

    reason = why_not(dialect, body, partial, limit_bytes)   # empty: it may
    sentence = REASONS[reason]                               # for the client's error event

`body` is the request as it was sent to the instance. REASONS also contains reasons that only the router itself finds,
because all reasons are labels of metrics.

The rules are strict: an answer is continued only if the result could have been an uninterrupted answer. If the client
has only the first event of an answer, the same request can be sent again, whatever it asks for.
"""

from collections.abc import Iterable
from typing import Any

from svc.router.resume.dialect import Dialect
from svc.router.resume.event_formats import DECODE_ERRORS
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.request_fields import (
    TOKEN_LIMITS,
    TOKEN_MINIMUMS,
    Fields,
    last_message,
    prompt_text,
    read_fields,
    stop_texts,
    value,
)

REASONS = {
    "off": "the router's settings do not allow it (resume, resume_models)",
    "client_refuses": "the request refuses it with X-No-Resume",
    "not_supported": "answers to requests of this kind cannot be continued",
    "several_choices": "the request asks for several answers at once",
    "tool_call": "the answer had begun to call a tool",
    "reasoning": "the answer was still reasoning, or reasons in a way that cannot be continued",
    "structured_output": "the answer follows a format that a continuation could break",
    "logprobs": "the request asks for log probabilities, token ids or other data of each token",
    "too_long": "the answer had become too long for the router to keep (resume_max_text)",
    "request_too_large": "the request is too large to be kept",
    "unreadable": "the router does not understand the answer's events",
    "error": "the instance had reported an error",
    "engine": "no other instance of the model is known to continue answers",
    "instance": "no other instance of the model that can continue it was available in time",
    "attempts": "the request was tried too often",
    "poisoned": "the request may have killed its instances",
    "failed": "another instance did not continue it",
}
# The reasons why no other instance continued an answer that may go on. With any other reason, none is tried.
FAILURES = ("engine", "instance", "attempts", "poisoned", "failed")

THOUGHTS_BEGIN = ("<think>", "[THINK]")
THOUGHTS_END = "</think>"
# Fields that ask for data of each token, in vLLM, SGLang and llama.cpp.
_TOKEN_DATA = (
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "n_probs",
    "logprob_token_ids",
    "return_token_ids",
    "return_tokens",
    "return_tokens_as_token_ids",
    "return_prompt_token_ids",
    "return_prompt_text",
    "return_hidden_states",
    "return_routed_experts",
    "return_meta_info",
    "return_cached_tokens_details",
)
# Fields that constrain the answer, in vLLM, SGLang, llama.cpp, TGI and Anthropic's API. Older vLLM has `guided_...`.
_FORMATS = ("structured_outputs", "structural_tag", "grammar", "json_schema", "regex", "ebnf", "output_format")
# With these fields, the answer is not just a text that follows the prompt, or only one instance can give it.
_UNSUPPORTED = (
    "echo",
    "suffix",
    "prompt_embeds",
    "truncate_prompt_tokens",
    "input_ids",
    "kv_transfer_params",
    "audio",
)


def why_not(dialect: Dialect | None, body: bytes, partial: PartialAnswer, limit_bytes: int) -> str:
    """Return why an answer may not be continued, as a key of REASONS; empty if it may.

    `partial`: the part of the answer that the client has; `limit_bytes`: the maximum size of its text.
    """
    fields = read_fields(body)
    if dialect is None or fields is None:
        return "not_supported"
    if partial.obstacle:
        return partial.obstacle
    try:
        return _why_not(dialect, fields, partial, limit_bytes)
    except (*DECODE_ERRORS, TypeError):
        return "not_supported"


def _why_not(dialect: Dialect, fields: Fields, partial: PartialAnswer, limit_bytes: int) -> str:
    if value(fields, "stream") is not True or not _limits_are_numbers(fields):
        return "not_supported"
    if any(value(fields, name) not in (None, 1) for name in ("n", "best_of")) or value(fields, "use_beam_search"):
        return "several_choices"
    if not partial.has_content:
        return ""
    stop_texts(fields)
    if partial.size > limit_bytes:
        return "too_long"
    if _is_half_character(partial):
        return "unreadable"
    if _has_value(fields, _TOKEN_DATA) or (dialect is Dialect.COMPLETIONS and value(fields, "logprobs") is not None):
        return "logprobs"
    if _is_structured(fields):
        return "structured_output"
    if partial.reasoning_open or (partial.reasoning and not partial.text.strip()) or _has_thoughts(partial.text):
        return "reasoning"
    if value(fields, "include_reasoning") is False:  # the engine may have reasoned without showing it
        return "reasoning"
    if _has_value(fields, _UNSUPPORTED):
        return "not_supported"
    return "" if _has_prompt(dialect, fields, partial) else "not_supported"


def _has_value(fields: Fields, names: Iterable[str]) -> bool:
    """Return whether any of these fields is present and not null, false, 0 or empty."""
    return any(value(fields, name) for name in names)


def _limits_are_numbers(fields: Fields) -> bool:
    numbers = [value(fields, name) for name in TOKEN_LIMITS + TOKEN_MINIMUMS]
    return all(number is None or type(number) is int for number in numbers)


def _is_half_character(partial: PartialAnswer) -> bool:
    """Return whether the text ends between the halves of a surrogate pair."""
    try:
        return not (partial.text or partial.reasoning)
    except ValueError:
        return True


def _has_thoughts(text: str) -> bool:
    """Return whether the text contains thoughts: chat templates would replace or remove them before a continuation."""
    return text.lstrip().startswith(THOUGHTS_BEGIN) or THOUGHTS_END in text


def _is_structured(fields: Fields) -> bool:
    """Return whether the answer has to follow a format, or to call a tool."""
    if _kind(value(fields, "response_format")) not in (None, "text"):
        return True
    output_config = value(fields, "output_config")
    if isinstance(output_config, dict) and output_config.get("format") is not None:
        return True
    if any(_kind(value(fields, name)) not in (None, "auto", "none") for name in ("tool_choice", "function_call")):
        return True
    return _has_value(fields, [*_FORMATS, *(name for name in fields if name.startswith("guided_"))])


def _kind(choice: Any) -> Any:
    """Return the type of an object such as `{"type": "auto"}`; return any other value unchanged."""
    return choice.get("type", choice) if isinstance(choice, dict) else choice


def _has_prompt(dialect: Dialect, fields: Fields, partial: PartialAnswer) -> bool:
    """Return whether the text of the answer can be appended to the request's prompt or messages."""
    if dialect is Dialect.COMPLETIONS:
        return prompt_text(fields) is not None
    last = last_message(fields)
    if last.get("role") != "assistant":
        continues = value(fields, "continue_final_message") or value(fields, "add_generation_prompt") is False
        return bool(last) and (dialect is Dialect.MESSAGES or not continues)
    if dialect is Dialect.CHAT and value(fields, "continue_final_message") is not True:
        return False  # engines differ: llama.cpp continues the message, vLLM and SGLang begin a new one
    if partial.reasoning or last.get("tool_calls") or last.get("function_call"):
        return False
    content = last.get("content")
    # SGLang does not continue a chat's message that consists of parts, and llama.cpp puts blank lines between them.
    return isinstance(content, str) or (dialect is Dialect.MESSAGES and _ends_with_text(content))


def _ends_with_text(content: object) -> bool:
    """Return whether a message's content consists of blocks, the last of which is a text."""
    if not isinstance(content, list) or not content or not isinstance(content[-1], dict):
        return False
    return isinstance(content[-1].get("text"), str)
