"""The trace: agents' conversations with a system prompt of their application, and texts of their own. Pure."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN_BYTES = 4  # of English text
MODEL = "simulated"
POOL_BYTES = 1 << 20  # of random text, from which the messages are cut


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    requests: int = 100_000
    rate: float = 80.0  # requests per second, of all conversations together
    applications: int = 24  # the k-th is used in proportion to 1/k
    system_tokens: int = 1_536  # 6 KB
    turns_scale: float = 2.0  # turns are Pareto distributed: most conversations are short, a few very long
    turns_alpha: float = 1.1
    max_turns: int = 100
    max_context: int = 32_768
    sessions: float = 0.5  # share of the conversations whose client sends a session identifier
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    question_tokens: int
    answer_tokens: int
    think_seconds: float  # from the end of the answer until the next question


@dataclass(frozen=True, slots=True)
class Conversation:
    number: int
    application: int
    start: float
    has_session: bool
    turns: list[Turn]


class Texts:
    """Random text for messages: 4 bytes for each token, and no two messages alike."""

    def __init__(self, seed: int) -> None:
        self._pool = bytes(random.Random(seed).choices(b"etaoin shrdlu cmfwyp ", k=POOL_BYTES))

    def text(self, source: int, place: int, tokens: int) -> bytes:
        """Return the text of one message; `source` and `place` identify it."""
        offset = (source * 7_919 + place * 104_729) % POOL_BYTES
        length = tokens * TOKEN_BYTES
        text = b"%d.%d %b" % (source, place, self._pool[offset : offset + length])
        return (text + self._pool)[:length] if len(text) < length else text[:length]


class Dialogue:
    """The messages of a conversation so far, which grow by each question and answer: their JSON and their tokens."""

    def __init__(self, number: int, system: bytes, texts: Texts) -> None:
        self.tokens = len(system) // TOKEN_BYTES
        self._number = number
        self._texts = texts
        self._messages = bytearray(b'{"role":"system","content":"%b"}' % system)

    def add(self, role: bytes, tokens: int) -> None:
        text = self._texts.text(self._number, len(self._messages), tokens)
        self._messages += b',{"role":"%b","content":"%b"}' % (role, text)
        self.tokens += tokens

    def body(self) -> bytes:
        """Return the body of a request, with its fields in the order in which OpenAI's client sends them."""
        return b'{"messages":[%b],"model":"%b","stream":true}' % (self._messages, MODEL.encode())


def generate(settings: TraceSettings) -> list[Conversation]:
    """Return conversations with as many requests as the settings name, in the order in which they start.

    The starts are a Poisson process: with a given number of arrivals, their times are independent and uniform.
    """
    generator = random.Random(settings.seed)
    applications = range(settings.applications)
    popularity = [1 / (k + 1) for k in applications]
    drafts: list[tuple[int, bool, list[Turn]]] = []
    remaining = settings.requests
    while remaining > 0:
        turns = list(_turns(generator, settings))[:remaining]
        remaining -= len(turns)
        (application,) = generator.choices(applications, popularity)
        drafts.append((application, generator.random() < settings.sessions, turns))
    duration = settings.requests / settings.rate
    starts = sorted(generator.uniform(0, duration) for _ in drafts)
    return [
        Conversation(number, application, start, has_session, turns)
        for number, (start, (application, has_session, turns)) in enumerate(zip(starts, drafts, strict=True))
    ]


def _turns(generator: random.Random, settings: TraceSettings) -> Iterator[Turn]:
    """Yield the turns of one conversation; it ends before it exceeds the context."""
    count = min(settings.max_turns, int(settings.turns_scale * generator.paretovariate(settings.turns_alpha)))
    context = settings.system_tokens
    for number in range(count):
        question = _skewed(generator, 250, 1.1, 8_000)  # a user's text, or what a tool returned
        answer = _skewed(generator, 120, 0.8, 2_000)
        context += question + answer
        if number and context > settings.max_context:
            return
        by_a_user = generator.random() < 0.2  # the user reads the answer; otherwise a tool runs
        think = generator.expovariate(1 / 40) if by_a_user else generator.lognormvariate(math.log(3), 1)
        yield Turn(question, answer, think)


def _skewed(generator: random.Random, median: float, sigma: float, maximum: int) -> int:
    return max(1, min(maximum, round(generator.lognormvariate(math.log(median), sigma))))
