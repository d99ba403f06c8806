"""The part of a streamed answer that the client has received. Pure.

    partial = PartialAnswer(dialect)   # one for each stream, for as long as the stream lasts
    partial.feed(data)                 # the bytes that were passed on, cut anywhere, without HTTP's chunk framing

`feed` may be called late and with many events at once. While an answer is continued, feed the rewritten events, so that
the state is always that of the client. An incomplete event at the end of the data is kept until its rest comes. If the
router has not passed it on, `drop_unended` forgets it.

The events are read strictly: anything unknown in them becomes the `obstacle`, and the answer is not continued.
"""

from svc.router.http.sse import last_end, split
from svc.router.resume.dialect import Dialect
from svc.router.resume.event_formats import (
    DECODE_ERRORS,
    DONE,
    Completion,
    CompletionUsage,
    ContentBlock,
    Delta,
    FirstCompletion,
    Message,
    decode_completion,
    decode_first_completion,
    decode_message,
    join_surrogates,
    lenient_completion,
    lenient_message,
    payload,
)

PIECE_CHARS = 4096  # pieces of the text are joined up to this size
TAIL_TOKENS = 8  # number of the last tokens whose texts are kept one by one
# Content blocks and their deltas that are not text, in Anthropic's form, and why they cannot be continued.
OBSTACLES = {
    "thinking": "reasoning",
    "redacted_thinking": "reasoning",
    "thinking_delta": "reasoning",
    "signature_delta": "reasoning",
    "tool_use": "tool_call",
    "server_tool_use": "tool_call",
    "input_json_delta": "tool_call",
}


class PartialAnswer:
    """The part of an answer that the client has, summed up from the events of its stream.

    `obstacle` is the reason (of `eligibility.REASONS`) why the stream itself cannot be continued, empty if it can. Once
    there is an obstacle, the text is dropped, and only the end of the stream is still recorded.
    """

    __slots__ = (
        "_pieces",
        "_reasoning",
        "_tail",
        "_unended",
        "block",
        "cached_tokens",
        "created",
        "dialect",
        "ended",
        "finish_reason",
        "has_start",
        "id",
        "model",
        "next_block",
        "obstacle",
        "prompt_tokens",
        "reasoning_open",
        "size",
        "tokens",
        "usage_seen",
    )

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.id = self.model = ""  # id and model of the answer, from its first event
        self.created: int | None = None
        self.has_start = False  # whether the client has the event with the role, or Anthropic's message_start
        self.tokens = 0  # tokens of the completion: the events that carry a token, or what the last usage reports
        self.prompt_tokens: int | None = None  # includes cached tokens; None if no usage was seen
        self.cached_tokens: int | None = None
        self.usage_seen = False  # whether the usage of the whole answer has come
        self.finish_reason = ""  # with Anthropic, stop_reason; empty until it has come
        self.ended = False  # whether the last event of the stream has come
        self.obstacle = ""
        self.reasoning_open = False  # whether the answer has reasoning after which no content has come yet
        self.block: int | None = None  # the index of the content block that is open, in Anthropic's form
        self.next_block = 0  # the index of the next content block
        self.size = 0  # bytes of text and reasoning in UTF-8
        self._pieces: list[str] = []
        self._reasoning: list[str] = []
        self._tail: list[str] = []  # the last tokens of the text
        self._unended = b""

    @property
    def text(self) -> str:
        """The text that was generated, without reasoning; raise ValueError if it has half a surrogate pair."""
        return join_surrogates("".join(self._pieces))

    @property
    def reasoning(self) -> str:
        """The text of the reasoning before the answer; raise ValueError if it has half a surrogate pair."""
        return join_surrogates("".join(self._reasoning))

    @property
    def has_content(self) -> bool:
        """Whether the client has any of the answer; if not, the same request can be sent again."""
        return bool(self._pieces or self._reasoning or self.obstacle or self.finish_reason)

    def blank_tail_tokens(self) -> int:
        """Return how many tokens at the end of the text consist of white space only."""
        return next((n for n, token in enumerate(reversed(self._tail)) if token.strip()), len(self._tail))

    def drop_unended(self) -> None:
        """Forget the incomplete event at the end, because it was not passed on."""
        self._unended = b""

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the stream, which may be cut anywhere."""
        if self._unended:
            data = self._unended + data
        end = last_end(data)
        self._unended = data[end:]
        tokens: list[str] = []
        fold = self._fold_message if self.dialect is Dialect.MESSAGES else self._fold_completion
        for event in split(data[:end]):
            if text := payload(event):
                fold(text, tokens)
        if tokens and not self.obstacle:
            self._add(tokens)

    def _add(self, tokens: list[str]) -> None:
        """Add tokens to the text."""
        self._tail = (self._tail + tokens)[-TAIL_TOKENS:]
        self._append(self._pieces, "".join(tokens))

    def _append(self, pieces: list[str], text: str) -> None:
        self.size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if pieces and len(pieces[-1]) < PIECE_CHARS:
            pieces[-1] += text
        elif text:
            pieces.append(text)

    def _set_obstacle(self, reason: str) -> None:
        """Record why the answer cannot be continued, unless a reason is recorded already, and drop its text."""
        self.obstacle = self.obstacle or reason
        self._pieces, self._reasoning, self._tail, self.size = [], [], [], 0

    # OpenAI's events.

    def _fold_completion(self, data: bytes, tokens: list[str]) -> None:
        """Add one event of a chat or a completion; append its text to `tokens`."""
        try:
            event = decode_completion(data) if self.has_start else self._first_completion(data)
        except DECODE_ERRORS:
            if data.strip() == DONE:
                self.ended = True
                return
            try:
                event = lenient_completion(data)
                self._note_first(event)
            except DECODE_ERRORS:
                self._set_obstacle("unreadable")
                return
        choices = event.choices
        if choices:
            choice = choices[0]
            if len(choices) > 1 or choice.index:
                self._set_obstacle("several_choices")
                return
            text = choice.text
            if (delta := choice.delta) is not None:
                text = self._fold_delta(delta, tokens)
            if text:
                tokens.append(text)
                self.tokens += 1
                self.reasoning_open = False
            elif text is not None and not choice.finish_reason and (delta is None or delta.role is None):
                tokens.append("")  # a token without text: a part of a character, or text that the engine holds back
                self.tokens += 1
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
            if choice.logprobs:
                self._set_obstacle("logprobs")
        elif event.error:
            self._set_obstacle("error")
        elif choices is None:
            self._set_obstacle("unreadable")
        if event.usage is not None:
            self._fold_usage(event.usage)
            self.usage_seen = self.usage_seen or not choices

    def _first_completion(self, data: bytes) -> Completion:
        """Return the first event of an answer."""
        event = decode_first_completion(data)
        self._note_first(event)
        return event

    def _note_first(self, event: FirstCompletion) -> None:
        """Record the fields that are the same in all events of the answer."""
        if event.choices and not self.has_start:
            self.has_start = True
            self.id, self.model, self.created = event.id, event.model, event.created

    def _fold_delta(self, delta: Delta, tokens: list[str]) -> str | None:
        """Add the delta of a chat's event; return its text."""
        if reasoning := delta.reasoning_content or delta.reasoning:
            self.tokens += not delta.content
            self.reasoning_open = True
            if tokens or self._pieces:
                self._set_obstacle("reasoning")
            elif not self.obstacle:
                self._append(self._reasoning, reasoning)
        if delta.tool_calls or delta.function_call:
            self._set_obstacle("tool_call")
        if delta.refusal or delta.audio or delta.annotations or delta.hidden_states:
            self._set_obstacle("unreadable")
        return delta.content

    def _fold_usage(self, usage: CompletionUsage) -> None:
        """Record the numbers of tokens that an event reports. The one of the completion replaces the count so far."""
        if usage.prompt_tokens is not None:
            self.prompt_tokens = usage.prompt_tokens
        if usage.prompt_tokens_details is not None:
            self.cached_tokens = usage.prompt_tokens_details.cached_tokens
        if usage.completion_tokens is not None:
            self.tokens = usage.completion_tokens

    # Anthropic's events.

    def _fold_message(self, data: bytes, tokens: list[str]) -> None:
        """Add one event of a message; append its text to `tokens`."""
        try:
            event = decode_message(data)
        except DECODE_ERRORS:
            try:
                event = lenient_message(data)
            except DECODE_ERRORS:
                self._set_obstacle("unreadable")
                return
        kind, delta = event.type, event.delta
        if kind == "content_block_delta" and delta is not None:
            if delta.type == "text_delta" and event.index == self.block:
                self.tokens += 1
                if delta.text:
                    tokens.append(delta.text)
            else:
                self._set_obstacle(OBSTACLES.get(delta.type, "unreadable"))
        elif kind == "message_start" and event.message is not None:
            self._fold_start(event.message)
        elif kind == "content_block_start" and event.content_block is not None:
            self._fold_block(event.content_block, event.index, tokens)
        elif kind == "content_block_stop":
            self.block = None
        elif kind == "message_delta" and delta is not None:
            self.finish_reason = delta.stop_reason or self.finish_reason
            if event.usage is not None and event.usage.output_tokens is not None:
                self.tokens = event.usage.output_tokens
        elif kind == "message_stop":
            self.ended = True
        elif kind != "ping":
            self._set_obstacle("error" if kind == "error" else "unreadable")

    def _fold_start(self, message: Message) -> None:
        self.has_start = True
        self.id, self.model = message.id, message.model
        if message.content:
            self._set_obstacle("unreadable")
        if (usage := message.usage) is not None and usage.input_tokens is not None:
            self.cached_tokens = usage.cache_read_input_tokens
            self.prompt_tokens = usage.input_tokens

    def _fold_block(self, block: ContentBlock, index: int, tokens: list[str]) -> None:
        """Add the event that begins a content block."""
        if block.type != "text" or self.block is not None or index != self.next_block:
            self._set_obstacle(OBSTACLES.get(block.type, "unreadable"))
        elif block.text:
            tokens.append(block.text)
        self.block, self.next_block = index, index + 1
