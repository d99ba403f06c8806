"""The lifecycle of an instance as one table: state and event -> next state and actions. Pure.

    UNSEEN --SPAWNED/EXITED--> STARTING --READY--> RUNNING --STOPPING--> DRAINING --STOPPED--> STOPPED
                                  ^                   |
                                  +------ EXITED -----+        FAILED: supervisord stopped restarting it

    RUNNING --SILENT--> HUNG --GENERATES--> RUNNING: only with `probe = "generate"`

    RUNNING --RELEASED--> RELEASING --SLEEPS--> ASLEEP --SPAWNED/WAKES--> STARTING: only an instance on demand.
                  RELEASING --KEPT--> RUNNING: it is needed again before it sleeps

supervisord owns the process. The babysitter polls it twice a second, so it can miss a
state between two polls (a stop and a start, for example). The table has transitions for
such jumps. `step` raises ValueError for an event that is not in the table.
"""

from enum import Enum


class LifecycleState(Enum):
    """The states of an instance. The babysitter reports all but UNSEEN and GONE to the registry, as `status`."""

    UNSEEN = ""  # not polled yet, so the instance is not registered
    STARTING = "starting"  # the engine is not ready yet, or the process waits for its next restart
    RUNNING = "running"
    HUNG = "hung"  # the process runs and may list models, but generates no tokens
    RELEASING = "releasing"  # it gets no new requests, and sleeps once those in progress have ended
    ASLEEP = "asleep"  # on demand: its process is stopped, or its engine has released the memory of the GPUs
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    GONE = "gone"  # deregistered, because the babysitter shuts down

    @property
    def status(self) -> str:
        """Return the status to report to the registry: `draining` for states that the registry does not know.

        With the status `draining`, the instance gets no new requests.
        """
        return "draining" if self in (LifecycleState.HUNG, LifecycleState.RELEASING) else self.value


class LifecycleEvent(Enum):
    SPAWNED = "a new process runs"
    READY = "its engine is ready, with models that are new"
    SILENT = "it generates nothing"
    GENERATES = "it generates again"
    RESTART_PENDING = "it is to be restarted once it is idle"
    RELEASED = "it is to sleep once it is idle"
    KEPT = "it is not to sleep after all"
    SLEEPS = "it sleeps"
    WAKES = "its engine wakes"
    EXITED = "there is no process, for now"
    STOPPING = "it was told to stop"
    STOPPED = "it was stopped by hand"
    GAVE_UP = "its restarts are used up"
    BABYSITTER_ENDS = "the babysitter ends"


# Every other event (a start, a stop, an exit, a pending restart, sleep) begins a new stage of the process.
SAME_STAGE_EVENTS = (
    LifecycleEvent.READY,
    LifecycleEvent.SILENT,
    LifecycleEvent.GENERATES,
    LifecycleEvent.RELEASED,
    LifecycleEvent.KEPT,
)


class Action(Enum):
    REPORT = "report the state to the registry now"
    CHECK_ENGINE = "check the engine now"
    DEREGISTER = "remove both registrations"


def _from_any(state: LifecycleState) -> dict[LifecycleEvent, tuple[LifecycleState, tuple[Action, ...]]]:
    """Return the transitions that exist in every state, because supervisord's state overrides the babysitter's."""
    report = (Action.REPORT,)
    starting = state is LifecycleState.STARTING
    return {
        LifecycleEvent.SPAWNED: (LifecycleState.STARTING, (*(() if starting else report), Action.CHECK_ENGINE)),
        LifecycleEvent.EXITED: (LifecycleState.STARTING, () if starting else report),
        LifecycleEvent.STOPPING: (LifecycleState.DRAINING, () if state is LifecycleState.DRAINING else report),
        LifecycleEvent.STOPPED: (LifecycleState.STOPPED, () if state is LifecycleState.STOPPED else report),
        LifecycleEvent.SLEEPS: (LifecycleState.ASLEEP, () if state is LifecycleState.ASLEEP else report),
        LifecycleEvent.GAVE_UP: (LifecycleState.FAILED, () if state is LifecycleState.FAILED else report),
        LifecycleEvent.BABYSITTER_ENDS: (LifecycleState.GONE, (Action.DEREGISTER,)),
    }


TABLE: dict[LifecycleState, dict[LifecycleEvent, tuple[LifecycleState, tuple[Action, ...]]]] = {
    LifecycleState.UNSEEN: _from_any(LifecycleState.UNSEEN),
    LifecycleState.STARTING: {
        **_from_any(LifecycleState.STARTING),
        LifecycleEvent.READY: (LifecycleState.RUNNING, (Action.REPORT,)),
        LifecycleEvent.RESTART_PENDING: (LifecycleState.DRAINING, (Action.REPORT,)),
    },
    LifecycleState.RUNNING: {
        **_from_any(LifecycleState.RUNNING),
        LifecycleEvent.READY: (LifecycleState.RUNNING, (Action.REPORT,)),
        LifecycleEvent.SILENT: (LifecycleState.HUNG, (Action.REPORT,)),
        LifecycleEvent.GENERATES: (LifecycleState.RUNNING, ()),
        LifecycleEvent.RESTART_PENDING: (LifecycleState.DRAINING, (Action.REPORT,)),
        LifecycleEvent.RELEASED: (LifecycleState.RELEASING, (Action.REPORT,)),
    },
    LifecycleState.HUNG: {
        **_from_any(LifecycleState.HUNG),
        LifecycleEvent.READY: (LifecycleState.HUNG, ()),  # an engine that lists models may still generate no tokens
        LifecycleEvent.SILENT: (LifecycleState.HUNG, ()),
        LifecycleEvent.GENERATES: (LifecycleState.RUNNING, (Action.REPORT,)),
        LifecycleEvent.RESTART_PENDING: (LifecycleState.DRAINING, (Action.REPORT,)),
    },
    LifecycleState.RELEASING: {
        **_from_any(LifecycleState.RELEASING),
        LifecycleEvent.READY: (LifecycleState.RELEASING, ()),  # the result of a check that began before the release
        LifecycleEvent.SILENT: (LifecycleState.HUNG, (Action.REPORT,)),
        LifecycleEvent.GENERATES: (LifecycleState.RELEASING, ()),
        LifecycleEvent.RESTART_PENDING: (LifecycleState.DRAINING, (Action.REPORT,)),
        LifecycleEvent.RELEASED: (LifecycleState.RELEASING, ()),
        LifecycleEvent.KEPT: (LifecycleState.RUNNING, (Action.REPORT,)),
    },
    LifecycleState.ASLEEP: {
        **_from_any(LifecycleState.ASLEEP),
        LifecycleEvent.WAKES: (LifecycleState.STARTING, (Action.REPORT, Action.CHECK_ENGINE)),
    },
    LifecycleState.DRAINING: _from_any(LifecycleState.DRAINING),
    LifecycleState.STOPPED: _from_any(LifecycleState.STOPPED),
    LifecycleState.FAILED: _from_any(LifecycleState.FAILED),
    LifecycleState.GONE: dict.fromkeys(LifecycleEvent, (LifecycleState.GONE, ())),  # final: later events are ignored
}


def step(state: LifecycleState, event: LifecycleEvent) -> tuple[LifecycleState, tuple[Action, ...]]:
    """Return the next state and the actions to carry out; raise ValueError for an event that is not in the table."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise ValueError(f"an instance that is {state.name} cannot have {event.name}") from None
