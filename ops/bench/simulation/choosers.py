"""Choosers of the engine for each request: the router's balancer with a policy, or one that sees inside all engines."""

from collections.abc import Callable, Sequence
from typing import Protocol

from simulation.engine import Engine, Job
from simulation.trace import MODEL
from svc.protocol.instance_load import ListedLoad
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.balance.work import AttemptWork
from svc.router.sources.load_sync import LoadSync
from svc.router.state import RouterState
from svc.settings import RouterSettings

OMNISCIENT = "omniscient"
AUTO_PREFIX = "auto_prefix"  # `auto` with the setting of this name
UPDATE_SECONDS = 1.0  # the router counts the tokens of running streams once a second


class Chooser(Protocol):
    """One router, as the simulation uses it."""

    def choose(self, session: bytes, body: bytes, job: Job) -> str:
        """Return the name of the engine for a request, which is sent there now."""

    def end(self, name: str, job: Job) -> None:
        """Record that the answer of this engine is complete."""

    def update(self, now: float) -> None:
        """Use what is known of running answers and engines at this time. It is called once in UPDATE_SECONDS."""


class BalancerChooser:
    """The balancer of `svc router`."""

    def __init__(
        self, policy: str, engines: Sequence[Engine], clock: Callable[[], float], load_interval: float
    ) -> None:
        uses_prefix = policy == AUTO_PREFIX
        policy = "auto" if uses_prefix else policy
        settings = RouterSettings(policy=policy, auto_prefix=uses_prefix, load_interval=load_interval)
        state = RouterState(settings, clock)
        self._balancer = state.balancer
        self._load_sync = LoadSync(state, EngineLoads(engines), clock) if load_interval else None
        self._next_sync = load_interval
        self._engines = {engine.name: engine for engine in engines}
        self._attempts: dict[int, tuple[Engine, Job, AttemptWork]] = {}  # id of a job -> its expected work
        self._targets = {engine.name: _target(engine.name, port) for port, engine in enumerate(engines, 1)}
        state.replace_targets(self._targets.values())

    def choose(self, session: bytes, body: bytes, job: Job) -> str:
        target = self._balancer.pick(RoutingRequest(MODEL, session, body))
        assert target is not None
        self._balancer.begin_attempt(target)
        if self._balancer.work.is_tracked:
            attempt = self._balancer.work.begin(target.name, MODEL, body)
            self._attempts[id(job)] = self._engines[target.name], job, attempt
        return target.name

    def end(self, name: str, job: Job) -> None:
        assert job.ended is not None
        if id(job) in self._attempts:
            _, _, attempt = self._attempts.pop(id(job))
            attempt.learn(job.prompt_tokens, job.answer_tokens)
            attempt.end()
        self._balancer.end_attempt(self._targets[name], job.ended - job.arrived, failed=False, answered=True)

    def update(self, now: float) -> None:
        for engine, job, attempt in self._attempts.values():
            attempt.progress(engine.generated(job, now))
        if self._load_sync is not None and now >= self._next_sync:
            self._next_sync = now + self._load_sync.run_round()


class EngineLoads:
    """The registry's list of the engines' loads, as a client of the registry reads it."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines

    def loads(self) -> list[ListedLoad]:
        return [
            ListedLoad(
                service=engine.name,
                age=0.0,
                running=engine.running,
                waiting=len(engine.waiting),
                kv_cache=engine.cache.held / engine.cache.capacity,
            )
            for engine in self._engines
        ]


class OmniscientChooser:
    """Chooses the engine with the earliest first token, from all caches and queues, which no router knows."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines

    def choose(self, session: bytes, body: bytes, job: Job) -> str:
        def cost(engine: Engine) -> tuple[float, int]:
            return engine.seconds_to_first_token(job, job.arrived), engine.running

        return min(self._engines, key=cost).name

    def end(self, name: str, job: Job) -> None:
        pass

    def update(self, now: float) -> None:
        pass


def _target(name: str, port: int) -> Target:
    return Target(name=name, host="127.0.0.1", port=port, url=f"http://127.0.0.1:{port}", models=(MODEL,))
