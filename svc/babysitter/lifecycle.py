"""An instance's life as one table: what happened -> what the registry is to say, and what to do now.

    UNSEEN --spawned/exited--> STARTING --answered--> RUNNING --stopping--> DRAINING --stopped--> STOPPED
                                  ^                      |
                                  +------- exited -------+        FAILED: supervisord gave up restarting

    RUNNING --silent--> HUNG --spoke--> RUNNING: only where it is asked for tokens (`probe = "generate"`)

supervisord owns the process; the babysitter only looks, twice a second, and so
may miss what lies between two looks (a stop and a start, say). Such jumps are in
the table. What cannot happen is not, and raises.
"""

from enum import Enum


class State(Enum):
    """Those with a value are told to the registry; `status` is what it hears."""

    UNSEEN = ""  # not looked yet, and nothing told of the instance
    STARTING = "starting"  # its engine is not ready yet, or between two restarts
    RUNNING = "running"
    HUNG = "hung"  # runs, and may list models, but generates nothing
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    GONE = "gone"  # deregistered: the babysitter ends

    @property
    def status(self) -> str:
        """The registry's word for it: one that hangs gets nothing new, and what it may still finish is not cut."""
        return "draining" if self is State.HUNG else self.value


class Event(Enum):
    SPAWNED = "a new process runs"
    ANSWERED = "its engine is ready, with models that are new"
    SILENT = "it generates nothing"
    SPOKE = "it generates again"
    RETIRED = "it is to be restarted once it is idle"
    EXITED = "there is no process, for now"
    STOPPING = "it was told to stop"
    STOPPED = "it was stopped by hand"
    GAVE_UP = "its restarts are used up"
    ENDING = "the babysitter ends"


OF_ITSELF = (Event.ANSWERED, Event.SILENT, Event.SPOKE)  # these begin no other chapter of the process's life


class Action(Enum):
    TELL = "tell the registry now"
    ASK = "check the engine now"
    LEAVE = "take both registrations away"


def _always(state: State) -> dict[Event, tuple[State, tuple[Action, ...]]]:
    """What holds wherever it comes from: the supervisor's word counts."""
    tell = (Action.TELL,)
    return {
        Event.SPAWNED: (State.STARTING, (Action.ASK,) if state is State.STARTING else (Action.TELL, Action.ASK)),
        Event.EXITED: (State.STARTING, () if state is State.STARTING else tell),
        Event.STOPPING: (State.DRAINING, () if state is State.DRAINING else tell),
        Event.STOPPED: (State.STOPPED, () if state is State.STOPPED else tell),
        Event.GAVE_UP: (State.FAILED, () if state is State.FAILED else tell),
        Event.ENDING: (State.GONE, (Action.LEAVE,)),
    }


TABLE: dict[State, dict[Event, tuple[State, tuple[Action, ...]]]] = {
    State.UNSEEN: _always(State.UNSEEN),
    State.STARTING: {
        **_always(State.STARTING),
        Event.ANSWERED: (State.RUNNING, (Action.TELL,)),
        Event.RETIRED: (State.DRAINING, (Action.TELL,)),
    },
    State.RUNNING: {
        **_always(State.RUNNING),
        Event.ANSWERED: (State.RUNNING, (Action.TELL,)),
        Event.SILENT: (State.HUNG, (Action.TELL,)),
        Event.SPOKE: (State.RUNNING, ()),
        Event.RETIRED: (State.DRAINING, (Action.TELL,)),
    },
    State.HUNG: {
        **_always(State.HUNG),
        Event.ANSWERED: (State.HUNG, ()),  # it is ready by its own account: that is not enough
        Event.SILENT: (State.HUNG, ()),
        Event.SPOKE: (State.RUNNING, (Action.TELL,)),
        Event.RETIRED: (State.DRAINING, (Action.TELL,)),
    },
    State.DRAINING: _always(State.DRAINING),
    State.STOPPED: _always(State.STOPPED),
    State.FAILED: _always(State.FAILED),
    State.GONE: dict.fromkeys(Event, (State.GONE, ())),  # what is still under way changes nothing any more
}


def step(state: State, event: Event) -> tuple[State, tuple[Action, ...]]:
    """The state after `event`, and what to do; raises ValueError for what cannot happen."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise ValueError(f"an instance that is {state.name} cannot have {event.name}") from None
