"""The continuation probe: finds out whether the engine continues an answer as routers request it after a failure.

The engine answers a question at temperature 0. Then it gets the question together with the first half of its answer, in
the form that routers use, and has to go on with the second half. The probe fails if the engine begins a new answer,
repeats the beginning, or puts the rest into another field, as a parser does that takes it for reasoning. If the probe
succeeds, it is repeated on Anthropic's /v1/messages, because vLLM and SGLang begin a new answer there.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any

import msgspec
import requests

from svc.protocol.continuation import CONTINUE_FIELDS

Post = Callable[[str, dict[str, Any], float], tuple[int, str]]  # takes URL, body, timeout; returns status and text
Message = dict[str, str]

PATH = "/v1/chat/completions"
MESSAGES_PATH = "/v1/messages"
TIMEOUT_SECONDS = 30.0  # for all requests of one probe
MAX_TOKENS = 16
COMPARED_CHARACTERS = 12  # of the second half; what follows may differ if other requests share the engine's batch
MIN_COMPARED_CHARACTERS = 5
QUESTION: Message = {"role": "user", "content": "Write the numbers from one to twenty as words, separated by commas."}
KNOWN_ANSWER = ("one, two, three, four, five,", " six, seven")  # used if the engine's own answer has too little text
BLANKS_BETWEEN_WORDS = re.compile(r"(?<=\S)\s+(?=\S)")


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a probe. If it is not `final`, another probe of the same process may have another result."""

    continues: bool
    final: bool = True
    reason: str = ""
    continues_messages: bool = False  # whether it also continues answers on /v1/messages


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the engine would refuse again: it lacks this API. Otherwise it is overloaded or has failed."""
        return self.status == HTTPStatus.NOT_IMPLEMENTED or self.status not in (429, *range(500, 600))


class ContinuationProbe:
    """Probes the engine at the first of `urls` that accepts a connection, within `timeout` seconds in all."""

    def __init__(self, urls: Sequence[str], post: Post, timeout: float = TIMEOUT_SECONDS) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.post = post
        self.timeout = timeout

    def send(self, model: str) -> Verdict:
        """Probe the engine with this model."""
        deadline = monotonic() + self.timeout
        try:
            begun, rest = split_answer(self._generate(model, [QUESTION], deadline)) or KNOWN_ANSWER
            messages = [QUESTION, {"role": "assistant", "content": begun}]
            answer = self._generate(model, messages, deadline, PATH, **CONTINUE_FIELDS)
        except _Refused as refused:
            return Verdict(False, refused.is_final, f"it answers {refused.status}")
        except requests.Timeout:
            return Verdict(False, False, f"no answer within {self.timeout:g} s")
        except requests.RequestException:
            return Verdict(False, False, "it closes the connection")
        if goes_on(rest, answer):
            return Verdict(True, continues_messages=self._continues_message(model, messages, rest, deadline))
        return Verdict(False, False, f"after {begun[-20:]!r} it writes {answer[:20]!r} and not {rest[:20]!r}")

    def _continues_message(self, model: str, messages: list[Message], rest: str, deadline: float) -> bool:
        """Return whether an engine that continues a chat does the same on /v1/messages."""
        try:
            return goes_on(rest, self._generate(model, messages, deadline, MESSAGES_PATH))
        except (_Refused, requests.RequestException):
            return False

    def _generate(self, model: str, messages: list[Message], deadline: float, path: str = PATH, **fields: bool) -> str:
        """Return the text of a streamed answer. Without streaming, the same engine may repeat the beginning."""
        body = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0, "stream": True}
        status, text = self._post(path, body | fields, deadline)
        if not 200 <= status < 300:
            raise _Refused(status)
        return streamed_text(text)

    def _post(self, path: str, body: dict[str, Any], deadline: float) -> tuple[int, str]:
        refusal: requests.ConnectionError | None = None
        for url in self.urls:
            if (remaining := deadline - monotonic()) <= 0:
                break
            try:
                return self.post(url + path, body, remaining)
            except requests.Timeout:
                raise
            except requests.ConnectionError as error:
                refusal = refusal or error
        raise refusal or requests.Timeout


def split_answer(text: str) -> tuple[str, str] | None:
    """Return the beginning and the rest of an answer, split between two words near the middle.

    Return None if no rest would prove anything: it is too short, or the answer itself begins in the same way.
    """
    positions = [match.start() for match in BLANKS_BETWEEN_WORDS.finditer(text)]
    for position in sorted(positions, key=lambda position: abs(position - len(text) // 2)):
        compared = compared_part(text[position:]).strip()
        if len(compared) >= MIN_COMPARED_CHARACTERS and not text.lstrip().startswith(compared):
            return text[:position], text[position:]
    return None


def goes_on(rest: str, answer: str) -> bool:
    """Return whether `answer` begins with `compared_part(rest)`, white space included."""
    return answer.startswith(compared_part(rest))


def compared_part(rest: str) -> str:
    """Return the beginning of the rest, which an engine must repeat to pass the probe."""
    return rest[:COMPARED_CHARACTERS].rstrip()


class _Delta(msgspec.Struct):
    content: str | None = None
    text: str | None = None  # on /v1/messages


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    delta: _Delta = msgspec.field(default_factory=_Delta)  # on /v1/messages


def streamed_text(body: str) -> str:
    """Return the text of a streamed chat or message; skip the events that cannot be decoded."""
    texts = []
    for line in body.splitlines():
        if not line.startswith("data:"):
            continue
        try:
            event = msgspec.json.decode(line.removeprefix("data:").strip(), type=_Event)
        except (msgspec.DecodeError, RecursionError):  # raised also for [DONE], and for data that is nested too deeply
            continue
        texts += [choice.delta.content for choice in event.choices if choice.delta.content]
        texts.append(event.delta.text or "")
    return "".join(texts)
