"""Replay a trace against simulated engines, in simulated time."""

import heapq
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from simulation.choosers import OMNISCIENT, UPDATE_SECONDS, BalancerChooser, Chooser, OmniscientChooser
from simulation.engine import Engine, EngineSettings, Job
from simulation.trace import Conversation, Dialogue, Texts, TraceSettings


@dataclass(slots=True)
class Outcome:
    """The figures of one run. Lists by engine are in the order of the engines."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    first_tokens: list[float] = field(default_factory=list)  # by request: seconds from its arrival to its first token
    requests: list[int] = field(default_factory=list)  # by engine
    load: list[float] = field(default_factory=list)  # by engine: seconds of all its requests, from arrival to end
    prefilled: list[int] = field(default_factory=list)  # by engine: tokens that were not in the cache
    evicted_blocks: int = 0
    seconds: float = 0.0  # simulated, until the last answer


@dataclass(slots=True)
class Agent:
    """A running conversation, its messages so far, and the index of its next turn."""

    conversation: Conversation
    dialogue: Dialogue
    turn: int = 0


class Run:
    """One run of a trace with one policy. It is deterministic: time is simulated, and random numbers have a seed.

    `load_interval`: seconds between two reports of the engines' loads; 0 if engines do not report. `routers`: how many
    routers share the engines without communicating; each request goes to one at random.
    """

    def __init__(
        self,
        policy: str,
        conversations: Sequence[Conversation],
        instances: int,
        engine: EngineSettings,
        trace: TraceSettings,
        load_interval: float = 2.0,
        routers: int = 1,
    ) -> None:
        self.now = 0.0
        self.engines = [Engine(f"engine-{number:03}", engine) for number in range(1, instances + 1)]
        self.outcome = Outcome(requests=[0] * instances, load=[0.0] * instances, prefilled=[0] * instances)
        self._index = {engine.name: number for number, engine in enumerate(self.engines)}
        self._trace = trace
        self._texts = Texts(trace.seed)
        self._systems = [self._texts.text(-1 - k, 0, trace.system_tokens) for k in range(trace.applications)]
        self._in_flight: dict[int, tuple[Agent, Chooser]] = {}  # id of a job -> its agent and its router
        self._next_update = UPDATE_SECONDS
        self._order = itertools.count()  # of events at the same time
        self._events: list[tuple[float, int, Conversation | Agent | Engine]] = []
        for conversation in conversations:
            self._schedule(conversation.start, conversation)
        random.seed(trace.seed)  # the balancer draws from this module
        self._router_generator = random.Random(trace.seed)
        self._choosers: list[Chooser] = (
            [OmniscientChooser(self.engines)]
            if policy == OMNISCIENT
            else [BalancerChooser(policy, self.engines, lambda: self.now, load_interval) for _ in range(routers)]
        )

    def tenths(self) -> Iterator[int]:
        """Run to the end. Yield the numbers from 1 to 10, each when that many tenths of the requests are answered."""
        tenth = 1
        while self._events:
            at, _, actor = heapq.heappop(self._events)
            self._update_until(at)
            self.now = at
            if isinstance(actor, Engine):
                self._process_event(actor)
            else:
                self._send(actor if isinstance(actor, Agent) else self._agent(actor))
            while tenth < 10 and len(self.outcome.first_tokens) * 10 >= tenth * self._trace.requests:
                yield tenth
                tenth += 1
        self.outcome.seconds = self.now
        self.outcome.evicted_blocks = sum(engine.cache.evicted for engine in self.engines)
        yield 10

    def _update_until(self, at: float) -> None:
        while self._next_update <= at:
            self.now = self._next_update
            for chooser in self._choosers:
                chooser.update(self.now)
            self._next_update += UPDATE_SECONDS

    def _schedule(self, at: float, actor: Conversation | Agent | Engine) -> None:
        heapq.heappush(self._events, (at, next(self._order), actor))

    def _agent(self, conversation: Conversation) -> Agent:
        return Agent(conversation, Dialogue(conversation.number, self._systems[conversation.application], self._texts))

    def _send(self, agent: Agent) -> None:
        conversation, turn = agent.conversation, agent.conversation.turns[agent.turn]
        agent.dialogue.add(b"user", turn.question_tokens)
        job = Job(
            prompt_tokens=agent.dialogue.tokens,
            answer_tokens=turn.answer_tokens,
            shared=(f"application-{conversation.application}", self._trace.system_tokens),
            conversation=f"conversation-{conversation.number}",
            arrived=self.now,
        )
        session = b"session-%d" % conversation.number if conversation.has_session else b""
        chooser = self._router_generator.choice(self._choosers)
        engine = self.engines[self._index[chooser.choose(session, agent.dialogue.body(), job)]]
        self._in_flight[id(job)] = agent, chooser
        engine.submit(job, self.now)
        self._schedule_next_event(engine)

    def _schedule_next_event(self, engine: Engine) -> None:
        """Schedule the engine's next event. One that was scheduled before is ignored if it is not due any more."""
        if (at := engine.next_event()) < float("inf"):
            self._schedule(at, engine)

    def _process_event(self, engine: Engine) -> None:
        if engine.next_event() > self.now:
            return
        job = engine.process_event(self.now)
        self._schedule_next_event(engine)
        if job.ended is not None:
            agent, chooser = self._in_flight.pop(id(job))
            chooser.end(engine.name, job)
            self._record(job, self._index[engine.name])
            self._continue(agent)

    def _continue(self, agent: Agent) -> None:
        """Schedule the next turn of a conversation whose last answer is complete, if there is one."""
        turn = agent.conversation.turns[agent.turn]
        agent.dialogue.add(b"assistant", turn.answer_tokens)
        agent.turn += 1
        if agent.turn < len(agent.conversation.turns):
            self._schedule(self.now + turn.think_seconds, agent)

    def _record(self, job: Job, engine: int) -> None:
        assert job.first_token is not None
        assert job.ended is not None
        outcome = self.outcome
        outcome.prompt_tokens += job.prompt_tokens
        outcome.cached_tokens += job.cached_tokens
        outcome.first_tokens.append(job.first_token - job.arrived)
        outcome.requests[engine] += 1
        outcome.load[engine] += job.ended - job.arrived
        outcome.prefilled[engine] += job.prompt_tokens - job.cached_tokens
