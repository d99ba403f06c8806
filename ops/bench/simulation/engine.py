"""One engine: a queue, chunked prefill, a decode batch and a KV cache. Pure: the time is an argument.

The model of time is that of continuous batching (vLLM, SGLang). One prompt at a time is prefilled, in chunks; each
chunk is one step of the engine, in which every running request also gets a token. The duration of a step is

    step_seconds + sequence_seconds * running requests + prefilled tokens / prefill_rate

Tokens in the cache are not prefilled. Between two events (a prompt is done, an answer is done) all running requests
progress at the same rate, so no single step has to be simulated.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass

from simulation.kv_cache import KVCache, Segments


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The default is about a model of 8 billion parameters on a GPU with 80 GB."""

    block_tokens: int = 16
    blocks: int = 16_384
    prefill_rate: float = 8_000.0  # tokens per second
    chunk_tokens: int = 2_048
    step_seconds: float = 0.015
    sequence_seconds: float = 0.0003
    max_running: int = 128


@dataclass(slots=True, kw_only=True)
class Job:
    """One request at an engine; times are in seconds, None until they are known."""

    prompt_tokens: int
    answer_tokens: int
    shared: tuple[str, int]  # the name and the tokens of the system prompt
    conversation: str
    arrived: float
    expected_tokens: int = 0  # to prefill, when it was submitted
    cached_tokens: int = 0
    complete_at: float = math.inf  # the engine's progress at which the answer is complete
    first_token: float | None = None
    ended: float | None = None

    def segments(self, tokens: int, block_tokens: int, partial: bool) -> Segments:
        """Return the segments for the first tokens of prompt and answer; `partial` counts the last, incomplete block.

        The incomplete last block of the system prompt belongs to the conversation.
        """
        name, shared_tokens = self.shared
        shared = shared_tokens // block_tokens
        total = -(-tokens // block_tokens) if partial else tokens // block_tokens
        return [(name, shared), (self.conversation, total - shared)]


class Engine:
    """One simulated engine. Call `process_event` at the time of `next_event`, and `submit` at any time before it."""

    def __init__(self, name: str, settings: EngineSettings) -> None:
        self.name = name
        self.cache = KVCache(settings.blocks)
        self.waiting: deque[Job] = deque()
        self.prefilling: Job | None = None
        self._settings = settings
        self._waiting_tokens = 0  # to prefill for the waiting jobs, as expected when they were submitted
        self._decoding: list[tuple[float, int, Job]] = []  # a heap: progress at which the answer is complete
        self._joined = 0  # requests that have begun to decode; orders equal entries of the heap
        self._progress = 0.0  # tokens that a request would have that has been decoding since the start
        self._rate = 0.0  # of the progress, in tokens per second
        self._now = 0.0
        self._prefill_end = math.inf

    @property
    def running(self) -> int:
        return len(self._decoding) + (self.prefilling is not None)

    def generated(self, job: Job, now: float) -> int:
        """Return how many tokens of a running answer there are."""
        progress = self._progress + self._rate * (now - self._now)
        return max(0, job.answer_tokens - math.ceil(job.complete_at - progress)) if job.first_token is not None else 0

    def next_event(self) -> float:
        """Return the time at which the next prompt or answer is done if nothing is submitted; infinity if idle."""
        if not self._decoding:
            return self._prefill_end
        decoded = self._now + max(0.0, self._decoding[0][0] - self._progress) / self._rate
        return min(self._prefill_end, decoded)

    def seconds_to_first_token(self, job: Job, now: float) -> float:
        """Return the expected seconds until the first token of a job that is submitted now."""
        prefilling = self._prefill_end - now if self.prefilling else 0.0
        return prefilling + (self._waiting_tokens + self._uncached_tokens(job)) / self._settings.prefill_rate

    def submit(self, job: Job, now: float) -> None:
        self._advance(now)
        job.expected_tokens = self._uncached_tokens(job)
        self._waiting_tokens += job.expected_tokens
        self.waiting.append(job)
        self._begin_prefill()

    def process_event(self, now: float) -> Job:
        """Process the event that is due. Return its job, which has its first token now or has ended."""
        self._advance(now)
        if self.prefilling and now >= self._prefill_end:
            job, self.prefilling = self.prefilling, None
            self._prefill_end = math.inf
            job.first_token = now
            self._joined += 1
            job.complete_at = self._progress + job.answer_tokens - 1
            heapq.heappush(self._decoding, (job.complete_at, self._joined, job))
        else:
            self._progress, _, job = heapq.heappop(self._decoding)
            job.ended = now
            tokens = job.prompt_tokens + job.answer_tokens
            self.cache.release(job.segments(tokens, self._settings.block_tokens, partial=False))
        self._begin_prefill()
        return job

    def _advance(self, now: float) -> None:
        self._progress += self._rate * (now - self._now)
        self._now = now

    def _uncached_tokens(self, job: Job) -> int:
        """Return the tokens of the prompt to prefill: at least the last one, which yields the first of the answer."""
        size = self._settings.block_tokens
        return max(1, job.prompt_tokens - size * self.cache.cached_blocks(job.segments(job.prompt_tokens, size, False)))

    def _begin_prefill(self) -> None:
        """Begin with the next waiting prompt if there is room, and set the rate at which answers progress."""
        settings = self._settings
        running = len(self._decoding)
        step = settings.step_seconds + settings.sequence_seconds * running
        if self.prefilling is None and self.waiting and running < settings.max_running:
            job = self.waiting[0]
            tokens = self._uncached_tokens(job)
            if self.cache.hold(
                job.segments(job.prompt_tokens + job.answer_tokens, settings.block_tokens, partial=True)
            ):
                self.prefilling = self.waiting.popleft()
                self._waiting_tokens -= job.expected_tokens
                job.cached_tokens = job.prompt_tokens - tokens
                steps = math.ceil(tokens / settings.chunk_tokens)
                seconds = steps * step + tokens / settings.prefill_rate
                self._prefill_end = self._now + seconds
                self._rate = steps / seconds
                return
        if self.prefilling is None:
            self._rate = 1 / step
