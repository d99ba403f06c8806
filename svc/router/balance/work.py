"""The expected work of each instance in tokens, for `least_load` and `auto`. Pure.

    work = tokens in flight of this router's requests
         + foreign requests at the engine * usual tokens of a request

The tokens of a request are those of its prompt, estimated from the bytes of its body, and those still to come: the
model's usual completion, at most the request's max_tokens. The `usage` of responses tunes the estimates for each model.
Foreign requests are those that this router has not sent: the load that the engine reports, without the router's own.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from svc.protocol.instance_load import InstanceLoad
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target

DEFAULT_BYTES_PER_TOKEN = 4.0
DEFAULT_COMPLETION_TOKENS = 256.0
DEFAULT_REQUEST_TOKENS = 512.0
LEARNING_RATE = 1 / 16  # weight of one response in the mean values of its model
MAX_MODELS = 1000
MAX_ESTIMATED_TOKENS = 10_000_000  # limit for a prompt or a completion, so that sums fit into 64 bits
SEARCHED_BYTES = 2048  # max_tokens is searched in this many bytes at the beginning and at the end of a body
MAX_TOKENS = re.compile(rb'"max_(?:completion_|output_|new_)?tokens"\s{0,8}:\s{0,8}(\d{1,7})')
NAME_END = b'_tokens"'
MAX_NAME_START_BYTES = len(b'"max_completion')  # length of the longest name in MAX_TOKENS, without NAME_END


class EngineView(NamedTuple):
    """What this router derives from the loads of engines; the same in all of its processes."""

    foreign: dict[str, int] = {}  # instance with a known load -> requests there that this router has not sent
    crowded: frozenset[str] = frozenset()  # instances that get no requests from `auto` while others can take them
    limits: dict[str, int] = {}  # instance -> its adaptive limit, if it has one

    def limit(self, target: Target) -> int:
        """Return the maximum number of requests that an instance may have in flight; 0: unlimited."""
        return target.limit or self.limits.get(target.name, 0)


EMPTY_VIEW = EngineView()


def engine_view(
    loads: Mapping[str, InstanceLoad],
    own_requests: Mapping[str, int],
    pools: Iterable[Iterable[str]],
    max_kv_cache: float,
    max_queue_ratio: float,
) -> EngineView:
    """Return what this router derives from these loads of engines, without limits.

    `own_requests`: how many requests in each load are this router's; `pools`: the instances of each model. An instance
    is crowded if more than the share `max_kv_cache` of its KV cache is used, or if its engine's queue is more than
    `max_queue_ratio` times as long as the mean queue of the model's other instances (a mean below one counts as one).
    """
    foreign = {name: max(0, load.running + load.waiting - own_requests.get(name, 0)) for name, load in loads.items()}
    crowded = {name for name, load in loads.items() if load.kv_cache is not None and load.kv_cache > max_kv_cache}
    for pool in pools:
        waiting = {name: loads[name].waiting for name in pool if name in loads}
        total, peers = sum(waiting.values()), len(waiting) - 1
        if peers > 0 and total:
            crowded |= {n for n, own in waiting.items() if own > max_queue_ratio * max(1.0, (total - own) / peers)}
    return EngineView(foreign, frozenset(crowded))


class ModelMeans:
    """Mean values of a model's requests. At first, only the ratio of `body_bytes` and `prompt_tokens` has a meaning."""

    __slots__ = ("body_bytes", "completion_tokens", "prompt_tokens")

    def __init__(self) -> None:
        self.body_bytes, self.prompt_tokens = DEFAULT_BYTES_PER_TOKEN, 1.0
        self.completion_tokens = DEFAULT_COMPLETION_TOKENS

    def prompt(self, body_bytes: int) -> int:
        """Return the estimated number of tokens of the prompt in a body of this size."""
        return min(int(body_bytes * self.prompt_tokens / self.body_bytes), MAX_ESTIMATED_TOKENS)

    def completion(self, body: bytes) -> int:
        """Return the expected number of tokens of the completion."""
        usual, limit = min(int(self.completion_tokens), MAX_ESTIMATED_TOKENS), max_tokens(body)
        return usual if limit is None else min(limit, usual)

    def learn(self, body_bytes: int, prompt_tokens: int, completion_tokens: int) -> None:
        if prompt_tokens > 0 and body_bytes:
            # Two means, and not one of the ratio, so that long requests count more than short ones.
            self.body_bytes += LEARNING_RATE * (body_bytes - self.body_bytes)
            self.prompt_tokens += LEARNING_RATE * (prompt_tokens - self.prompt_tokens)
        self.completion_tokens += LEARNING_RATE * (completion_tokens - self.completion_tokens)


class Work:
    """The expected work of all instances.

    It is tracked only while a policy uses it: with `least_load` always, with `auto` while engines report loads.
    """

    def __init__(self, always_tracked: bool = False) -> None:
        self.tokens: dict[str, int] = {}  # instance -> tokens in flight of this router's requests
        self.foreign_tokens: dict[str, float] = {}  # instance -> tokens of its foreign requests
        self.default_foreign_tokens = 0.0  # for an instance whose load is unknown: the mean of all others
        self.view = EMPTY_VIEW
        self.is_tracked = self._always_tracked = always_tracked
        self._models: dict[str | None, ModelMeans] = {}
        self._request_tokens = DEFAULT_REQUEST_TOKENS  # mean number of tokens of this router's requests

    def use_view(self, view: EngineView) -> None:
        """Use these loads of the engines from now on."""
        self.view = view
        self.foreign_tokens = {name: requests * self._request_tokens for name, requests in view.foreign.items()}
        foreign = self.foreign_tokens.values()
        self.default_foreign_tokens = sum(foreign) / len(foreign) if foreign else 0.0
        self.is_tracked = self._always_tracked or bool(view.foreign)

    def of(self, instance: str) -> float:
        """Return the expected work of an instance in tokens."""
        return self.tokens.get(instance, 0) + self.foreign_tokens.get(instance, self.default_foreign_tokens)

    def begin(self, instance: str, model: str | None, body: bytes) -> "AttemptWork":
        """Count the tokens of an attempt that begins; `AttemptWork.end` ends it."""
        means = self.means(model)
        prompt, completion = means.prompt(len(body)), means.completion(body)
        self._request_tokens += LEARNING_RATE * (prompt + completion - self._request_tokens)
        self.add(instance, prompt + completion)
        return AttemptWork(self, instance, means, len(body), prompt + completion, completion)

    def means(self, model: str | None) -> ModelMeans:
        return self._models.get(model) or self._add_model(model)

    def expected_tokens(self, request: RoutingRequest) -> int:
        """Return the tokens that a request is expected to use: at least 1."""
        means = self.means(request.model)
        return max(1, means.prompt(len(request.body)) + means.completion(request.body))

    def add(self, instance: str, tokens: int) -> None:
        """Add to the tokens in flight at an instance. `tokens` is negative when an attempt progresses or ends."""
        total = self.tokens.get(instance, 0) + tokens
        if total:
            self.tokens[instance] = total
        else:
            self.tokens.pop(instance, None)

    def _add_model(self, model: str | None) -> ModelMeans:
        if len(self._models) >= MAX_MODELS:
            self._models.clear()
        means = self._models[model] = ModelMeans()
        return means


class AttemptWork:
    """The expected tokens of one attempt that the engine has not processed or generated yet."""

    __slots__ = ("_body_bytes", "_completion", "_instance", "_left", "_means", "_work")

    def __init__(
        self, work: Work, instance: str, means: ModelMeans, body_bytes: int, tokens: int, completion: int
    ) -> None:
        self._work = work
        self._instance = instance
        self._means = means
        self._body_bytes = body_bytes
        self._left = tokens
        self._completion = completion  # expected tokens of the completion

    def progress(self, generated: int) -> None:
        """Count only the tokens still to come: the engine has processed the prompt, and generated this many tokens."""
        if generated > 0:
            self._reduce_to(max(0, self._completion - generated))

    def end(self) -> None:
        self._reduce_to(0)

    def learn(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Tune the estimates of the model by the usage that the response reports."""
        self._means.learn(self._body_bytes, prompt_tokens, completion_tokens)

    def _reduce_to(self, left: int) -> None:
        if left < self._left:
            change, self._left = left - self._left, left
            self._work.add(self._instance, change)


def max_tokens(body: bytes) -> int | None:
    """Return the limit of completion tokens in a JSON body; None if none is near its beginning or its end.

    A limit in the middle of a long body is not found: to search the whole body costs more than the limit is worth.
    """
    size = len(body)
    for start, end in ((0, SEARCHED_BYTES), (max(SEARCHED_BYTES, size - SEARCHED_BYTES), size)):
        name_end = body.find(NAME_END, start, end) if start < size else -1
        while name_end >= 0:
            quote = body.rfind(b'"', max(0, name_end - MAX_NAME_START_BYTES - 1), name_end)
            if match := MAX_TOKENS.match(body, max(0, quote)):
                return int(match[1])
            name_end = body.find(NAME_END, name_end + 1, end)
    return None
