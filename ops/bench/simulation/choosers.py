"""What chooses the engine for each request: the router's balancer with one of its policies, or one that knows all."""

from collections.abc import Callable, Sequence
from typing import Protocol

from simulation.engine import Engine, Job
from simulation.trace import MODEL
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.state import RouterState
from svc.settings import RouterSettings

OMNISCIENT = "omniscient"


class Chooser(Protocol):
    def choose(self, session: bytes, body: bytes, job: Job) -> str:
        """Return the name of the engine for a request, which is sent there now."""

    def end(self, name: str, job: Job) -> None:
        """Record that the answer of this engine is complete."""


class BalancerChooser:
    """The balancer of `svc router`."""

    def __init__(self, policy: str, engines: Sequence[Engine], clock: Callable[[], float]) -> None:
        state = RouterState(RouterSettings(policy=policy), clock)
        self._balancer = state.balancer
        self._targets = {engine.name: _target(engine.name, port) for port, engine in enumerate(engines, 1)}
        state.replace_targets(self._targets.values())

    def choose(self, session: bytes, body: bytes, job: Job) -> str:
        target = self._balancer.pick(RoutingRequest(MODEL, session, body))
        assert target is not None
        self._balancer.begin_attempt(target)
        return target.name

    def end(self, name: str, job: Job) -> None:
        assert job.ended is not None
        self._balancer.end_attempt(self._targets[name], job.ended - job.arrived, failed=False, answered=True)


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


def _target(name: str, port: int) -> Target:
    return Target(name=name, host="127.0.0.1", port=port, url=f"http://127.0.0.1:{port}", models=(MODEL,))
