"""Carries out the arbiter's decisions on the programs of supervisord. Nothing here waits."""

import os
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from supervisor.options import make_namespec, split_namespec
from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults, RPCError

from svc.protocol.on_demand_variables import GPUS_VARIABLE
from svc.supervision.on_demand.arbiter import Arbiter
from svc.supervision.on_demand.instance_facts import Offer, Order, read_facts
from svc.supervision.on_demand.program import Program, read_program
from svc.supervision.on_demand.record import ProgramState

POSTPONED_SECONDS = 2  # how far the restart of an instance is postponed while another one loads
STATES: dict[int, Any] = {
    ProcessStates.STARTING: "running",
    ProcessStates.RUNNING: "running",
    ProcessStates.BACKOFF: "restarting",
    ProcessStates.STOPPING: "stopping",
    ProcessStates.UNKNOWN: "stopping",  # supervisord could not end it
    ProcessStates.FATAL: "failed",
}


class SupervisedInstances:
    """The instances of a supervisord that have resources or run on demand."""

    def __init__(self, supervisord: Any, arbiter: Arbiter) -> None:
        self.supervisord = supervisord
        self.logger = supervisord.options.logger
        self.arbiter = arbiter
        self._programs: dict[str, tuple[Any, Program | None]] = {}  # name -> environment=, what it declares

    def report(self, name: str, text: str) -> Order:
        """Pass facts on to the arbiter, start or stop the program as it decides, and return the babysitter's order."""
        try:
            facts = read_facts(text)
        except (ValueError, TypeError) as error:  # msgspec's errors are ValueErrors
            raise RPCError(Faults.INCORRECT_PARAMETERS, f"{name}: {error}") from None
        processes = self._processes_with(name)
        decision = self.arbiter.report(name, facts, processes, time.monotonic())
        process = self._process(name)
        if decision.action == "start":
            return self._start(name, process)
        if decision.action == "release" and (
            process.get_state() == ProcessStates.BACKOFF or facts.status == "starting"
        ):
            self.logger.info(f"svc: {name}: put to sleep before it was ready: {decision.reason}")
            process.stop()
            return Order("stay", decision.reason)
        self._postpone_restarts()
        return Order(decision.action, decision.reason)

    def put_to_sleep(self, name: str) -> bool:
        """Stop an instance's program if it has to sleep and has no requests in flight; return False if not.

        A program whose engine can sleep is not stopped: for it, True means that the caller may put its engine to sleep.
        """
        processes = self._processes_with(name)
        if not self.arbiter.may_sleep(name, processes, time.monotonic()):
            return False
        if not processes[name].program.sleeps_running:
            self.logger.info(f"svc: {name}: put to sleep")
            error = self._process(name).stop()
            if error:
                raise RPCError(Faults.FAILED, error)
        return True

    def offer(self, name: str) -> Offer:
        """Return what it would cost to wake an instance."""
        return self.arbiter.offer(name, self._processes_with(name), time.monotonic())

    def state(self) -> dict[str, Any]:
        """Return what instances hold on each GPU, and the state of each instance: see `Arbiter.state`."""
        return self.arbiter.state(self._processes(), time.monotonic())

    def starting(self, event: Any) -> None:
        """Give a program that is about to start the GPUs that were chosen for it, in the variable SVC_GPUS.

        The variable is set in supervisord's own environment, which the new process inherits, so that the program's
        configuration does not change.
        """
        os.environ.pop(GPUS_VARIABLE, None)
        name = _name(event.process)
        processes = self._processes()
        if name in processes:
            gpus = self.arbiter.gpus_at_start(name, processes, time.monotonic())
            if gpus:
                os.environ[GPUS_VARIABLE] = ",".join(map(str, gpus))

    def has_ended_asleep(self, process: Any) -> bool:
        """Return whether the engine of a process that has just ended was asleep; log this."""
        name = _name(process)
        if not self.arbiter.is_engine_asleep(name):
            return False
        self.logger.info(f"svc: {name}: its engine ended while it slept; it starts when it is needed")
        return True

    def _start(self, name: str, process: Any) -> Order:
        self.logger.info(f"svc: {name}: woken")
        process.spawn()
        if process.spawnerr:
            return Order("wait", process.spawnerr)
        return Order("stay", "started")

    def _postpone_restarts(self) -> None:
        """Postpone restarts while as many instances load as may load at once."""
        processes = self._processes()
        for name in self.arbiter.restarts_to_postpone(processes, time.monotonic()):
            process = self._process(name)
            process.delay = max(process.delay, time.time() + POSTPONED_SECONDS)
            process.backoff = max(process.backoff, POSTPONED_SECONDS)  # see `extension`

    def _processes_with(self, name: str) -> Mapping[str, ProgramState]:
        processes = self._processes()
        if name not in processes:
            raise RPCError(Faults.BAD_NAME, f"{name}: no program with resources or on demand")
        return processes

    def _processes(self) -> dict[str, ProgramState]:
        processes = {}
        for group in self.supervisord.process_groups.values():
            for process in group.processes.values():
                name = _name(process)
                program = self._program(name, process.config.environment)
                if program is not None:
                    state = STATES.get(process.get_state(), "stopped")
                    processes[name] = ProgramState(program, state, process.pid, process.spawnerr or "")
        return processes

    def _program(self, name: str, environment: Any) -> Program | None:
        known, program = self._programs.get(name, (None, None))
        if known is not environment or name not in self._programs:
            try:
                program = read_program(name, environment)
            except ValueError as error:
                self.logger.critical(f"svc: {name}: {error}; it is neither started on demand nor counted")
                program = None
            self._programs[name] = (environment, program)
        return program

    def _process(self, name: str) -> Any:
        group, program = split_namespec(name)
        return self.supervisord.process_groups[group].processes[program]


def encode(value: Any) -> str:
    """Return a value as JSON, because XML-RPC carries neither large numbers nor control characters."""
    return msgspec.json.encode(value).decode()


def _name(process: Any) -> str:
    return make_namespec(process.group.config.name, process.config.name)
