"""Counts the tokens of an event stream: finds the events that carry a token, and the last event. Pure.

The known formats are OpenAI's Chat Completions, Completions and Responses, Anthropic's Messages, and their variants in
vLLM, SGLang, llama.cpp, TGI and Ollama. An event in any other format counts as a token.
"""

import re
from collections import deque

from svc.router.http.sse import split

MAX_EXAMINED_EVENTS = 1000  # if none of this many events carries a token, every later event counts as one
RECENT_EVENTS = 6  # number of events in `recent`; a stream of Responses ends with four events that carry no token
EXAMINED_BYTES = 4096  # the bytes at the beginning of an event that are examined
KEPT_BYTES = 4096  # the bytes at the end of a long event that are kept, because they contain its usage

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
    """Return whether an event carries a token, and not only a role, a ping, the usage or an end."""
    head = event[:EXAMINED_BYTES]
    if _tokenless(_kind(head)):
        return False
    if TOKEN.search(head):
        return True
    return bool(DATA.search(head)) and not KNOWN.search(head) and not is_done(head)


def is_done(event: bytes | bytearray) -> bool:
    """Return whether an event is `data: [DONE]`, even if its empty line is missing."""
    return b"[DONE]" in event and bool(DONE.search(event, 0, EXAMINED_BYTES))


def ends_stream(event: bytes) -> bool:
    """Return whether a whole event is the last one of a stream in any of the known formats."""
    return _kind(event[:EXAMINED_BYTES]) in LAST_KINDS or is_done(event)


def without_start_tokens(data: bytes) -> bytes:
    """Return the data without the key `output_tokens` of Anthropic's message_start, which is not the final count."""
    return START_TOKENS.sub(rb'\1""', data) if b"message_start" in data else data


class TokenCounter:
    """A counter of the events of a stream, starting with the first event that carries a token.

    `recent` keeps the last events, one or more in an item. At the end of the stream, `total` subtracts those of the
    last events that carry no token. To save a call, `Exchange.passes` itself adds one to `count` and one item to
    `recent` for each chunk.
    """

    __slots__ = ("_examined", "count", "recent", "unended")

    def __init__(self) -> None:
        self.count = self._examined = 0
        self.recent: deque[bytes] = deque(maxlen=RECENT_EVENTS)
        self.unended = False  # whether the last event is incomplete: a long event is passed on in parts

    def add(self, data: bytes) -> None:
        """Count the events in data that is passed on: whole events, or a part of a long event."""
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
        """Return the number of tokens of a stream that has ended."""
        count = self.count
        for item in reversed(self.recent):
            for event in reversed(item.split(b"\n\n")[:-1] if _usual(item) else [item]):
                if not count or any(map(carries_token, _events(event))):
                    return count
                count -= 1
        return count

    def complete(self) -> bool:
        """Return whether the last event of the stream has arrived as a whole."""
        return bool(self.recent) and not self.unended and any(map(ends_stream, _events(self.recent[-1])))


def _usual(data: bytes) -> bool:
    """Return whether the data are short whole events with LF line ends. Counting these without a split saves 1 us."""
    return data.endswith(b"\n\n") and len(data) <= EXAMINED_BYTES and b"\r" not in data


def _events(chunk: bytes) -> list[bytes]:
    """Return the events in an item of `recent`: a chunk that was passed on unparsed may contain several."""
    return split(chunk) if chunk.count(b"data:") > 1 else [chunk]


def _kind(head: bytes) -> bytes:
    """Return the type of an event, from its `event:` line or the beginning of its data; empty if it has none."""
    kind = KIND.match(head)
    return kind[1] if kind else b""


def _tokenless(kind: bytes) -> bool:
    if kind.startswith(b"response."):
        return not kind.endswith(b".delta")
    return kind in TOKENLESS_KINDS or kind.endswith(b".done")


def _from_first_token(events: list[bytes]) -> int:
    """Return how many events there are from the first one with a token to the end of `events`; 0 if none has one."""
    return next((len(events) - at for at, event in enumerate(events) if carries_token(event)), 0)


def _excerpt(event: bytes) -> bytes:
    """Return the parts of an event to keep: the beginning, which has its type, and the end, which has its usage."""
    if len(event) <= EXAMINED_BYTES + KEPT_BYTES:
        return event
    return event[:EXAMINED_BYTES] + event[-KEPT_BYTES:]
