"""The tokens of an event stream: which events carry one, and which event is the last. Pure.

It knows OpenAI's chat and completions, Responses, Anthropic's messages, and their variants of vLLM, SGLang,
llama.cpp, TGI and Ollama. An event in any other format counts as a token.
"""

import re
from collections import deque

from svc.router.http.sse import split

MAX_EXAMINED_EVENTS = 1000  # without a token; then each event counts as one and is not examined
RECENT_EVENTS = 6  # Responses ends with four events that carry no token
EXAMINED_BYTES = 4096  # of the beginning of an event
KEPT_BYTES = 4096  # of the end of a long event, where its usage stands

SPACE = rb"[ \t]{0,8}"
OTHER_LINES = rb"(?:(?!event:|data:)[^\r\n]{0,256}[\r\n]{1,2}){0,8}"  # comments, an id, the size of a chunk
KIND = re.compile(
    rb'%b(?:event:%b|data:%b\{\s{0,8}"type"%b:%b")([\w.]{1,64})' % (OTHER_LINES, SPACE, SPACE, SPACE, SPACE)
)
DATA = re.compile(rb"(?:\A|[\r\n])data:%b[^\s]" % SPACE)
DONE = re.compile(rb"(?:\A|[\r\n])data:%b\[DONE\]" % SPACE)
TEXT = rb'"(?:content|reasoning_content|reasoning|text|thinking|partial_json|arguments|refusal|transcript|delta)"'
CALL = rb'"tool_calls"%b:%b\[\s{0,8}\{|"function_call"%b:%b\{' % (SPACE, SPACE, SPACE, SPACE)
TOKEN = re.compile(rb'%b%b:%b"(?!")|%b' % (TEXT, SPACE, SPACE, CALL))
KNOWN = re.compile(rb'(?:%b|"(?:choices|usage|error|response)")%b:' % (TEXT, SPACE))
START_TOKENS = re.compile(rb'("message_start"[^\r\n]*?)"output_tokens"')

TOKENLESS_KINDS = frozenset(
    b"message_start message_delta message_stop content_block_start content_block_stop ping error".split()
)
LAST_KINDS = frozenset(b"message_stop response.completed response.failed response.incomplete".split())


def carries_token(event: bytes) -> bool:
    """Return whether an event carries a token: not only a role, a ping, the usage or an end."""
    head = event[:EXAMINED_BYTES]
    if _tokenless(_kind(head)):
        return False
    if TOKEN.search(head):
        return True
    return bool(DATA.search(head)) and not KNOWN.search(head) and not is_done(head)


def is_done(event: bytes | bytearray) -> bool:
    """Return whether an event is `data: [DONE]`, also one that lacks its empty line."""
    return b"[DONE]" in event and bool(DONE.search(event, 0, EXAMINED_BYTES))


def ends_stream(event: bytes) -> bool:
    """Return whether a whole event is the last one of its stream in any of the protocols."""
    return _kind(event[:EXAMINED_BYTES]) in LAST_KINDS or is_done(event)


def without_start_tokens(data: bytes) -> bytes:
    """Hide the output tokens in Anthropic's message_start: they are not those of the answer that follows."""
    return START_TOKENS.sub(rb'\1""', data) if b"message_start" in data else data


class TokenCounter:
    """Counts the events of a stream from the one with the first token on.

    `recent` keeps the last events, one or more in an item: at the end of the stream
    those without a token are subtracted again. `Exchange.passes` adds to `count` and
    `recent` without a call, one for a chunk.
    """

    __slots__ = ("_examined", "count", "recent", "unended")

    def __init__(self) -> None:
        self.count = self._examined = 0
        self.recent: deque[bytes] = deque(maxlen=RECENT_EVENTS)
        self.unended = False  # whether more of the last event is to come: a long event is passed on in parts

    def add(self, data: bytes) -> None:
        """Count the events in data that is passed on: it holds whole events, or a part of a long one."""
        if self.count and not self.unended and _usual(data):
            self.count += data.count(b"\n\n")
            self.recent.append(data)
            return
        parts = split(data)
        unended, self.unended = self.unended, not (parts[-1] == b"" or parts[-1].isspace())
        if unended:
            self.recent[-1] = _excerpt(self.recent[-1] + parts.pop(0)[-KEPT_BYTES:])
        events = [part for part in parts if part and not part.isspace()]
        if self.count or self._examined > MAX_EXAMINED_EVENTS:
            self.count += len(events)
        else:
            self._examined += len(events)
            self.count += _from_first_token(events)
        self.recent.extend(map(_excerpt, events))

    def total(self) -> int:
        """Return the number of tokens, now that the stream has ended."""
        count = self.count
        for item in reversed(self.recent):
            for event in reversed(item.split(b"\n\n")[:-1] if _usual(item) else [item]):
                if not count or any(map(carries_token, _events(event))):
                    return count
                count -= 1
        return count

    def complete(self) -> bool:
        """Return whether the last event of the stream has come as a whole."""
        return bool(self.recent) and not self.unended and any(map(ends_stream, _events(self.recent[-1])))


def _usual(data: bytes) -> bool:
    """Return whether these are short whole events with LF line ends: counting them without a split saves 1 us."""
    return data.endswith(b"\n\n") and len(data) <= EXAMINED_BYTES and b"\r" not in data


def _events(chunk: bytes) -> list[bytes]:
    """Return the events of a kept item: a chunk that was passed on unread may have several."""
    return split(chunk) if chunk.count(b"data:") > 1 else [chunk]


def _kind(head: bytes) -> bytes:
    """Return the type of an event, from its `event:` line or the beginning of its data; empty where it has none."""
    kind = KIND.match(head)
    return kind[1] if kind else b""


def _tokenless(kind: bytes) -> bool:
    if kind.startswith(b"response."):
        return not kind.endswith(b".delta")
    return kind in TOKENLESS_KINDS or kind.endswith(b".done")


def _from_first_token(events: list[bytes]) -> int:
    """Return the number of events from the first with a token on."""
    return next((len(events) - at for at, event in enumerate(events) if carries_token(event)), 0)


def _excerpt(event: bytes) -> bytes:
    """Return the part of an event that is kept: its beginning for its type, its end for its usage."""
    if len(event) <= EXAMINED_BYTES + KEPT_BYTES:
        return event
    return event[:EXAMINED_BYTES] + event[-KEPT_BYTES:]
