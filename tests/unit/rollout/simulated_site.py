"""A simulated site for the rollout's engine: it observes itself, acts on itself, and its time passes only in sleep."""

from collections.abc import Iterable
from typing import Any

from svc.protocol.instance_names import instance_service
from svc.rollout.observation import RolloutObservation
from svc.rollout.tasks import InstanceOperation, Task
from svc.site.components import Component


class SimulatedInstance:
    def __init__(self, *models: str) -> None:
        self.models = list(models)
        self.runs = True
        self.drained = False
        self.hands_over = False
        self.staying = 0  # how many of its requests in flight cannot be handed over
        self.in_flight = 0
        self.broken = False  # it does not come back after its next start
        self.starts = 0
        self.on_demand = False  # it is started only by `wake`
        self.wakes_needed = 0  # how often it must be asked to wake


class SimulatedSite:
    """Instances in the order of `instances`; `calls` records what the engine has done, in its order."""

    def __init__(self, **instances: SimulatedInstance) -> None:
        self.instances = instances
        self.now = 0.0
        self.calls: list[str] = []
        self.lines: list[str] = []
        self.registry_answers = True
        self.registry_knows_handovers = True

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass; requests in flight at drained instances finish meanwhile."""
        self.now += seconds
        assert self.now < 10_000, "the rollout does not end"
        for instance in self.instances.values():
            if instance.drained and instance.in_flight:
                instance.in_flight -= 1
            if instance.hands_over:
                instance.in_flight = min(instance.in_flight, instance.staying)

    # What the engine observes.

    def observe(self, awaited: Iterable[Component] = ()) -> RolloutObservation:
        services = {instance_service(name): self._service(i) for name, i in self.instances.items()}
        router = {
            instance_service(name): (self._is_healthy(instance), instance.in_flight)
            for name, instance in self.instances.items()
        }
        answering = {component.name for component in awaited if self._answers(component.name)}
        states = {
            f"{name}:{program}": "RUNNING" if instance.runs else "FATAL" if instance.broken else "STOPPED"
            for name, instance in self.instances.items()
            for program in ("server", "babysitter")
        }
        states |= {f"{name}:babysitter": "RUNNING" for name, i in self.instances.items() if i.on_demand and i.starts}
        handovers = {instance_service(name): self._handover(i) for name, i in self.instances.items() if i.hands_over}
        listed = services if self.registry_answers else None
        return RolloutObservation(self.now, listed, [router], states, answering, [handovers])

    def _handover(self, instance: SimulatedInstance) -> dict[str, int]:
        staying = min(instance.in_flight, instance.staying)
        return {"moving": instance.in_flight - staying, "tool_call": staying}

    def _service(self, instance: SimulatedInstance) -> dict[str, Any]:
        return {
            "status": "running" if instance.runs else "asleep" if instance.on_demand and instance.starts else "stopped",
            "drained": instance.drained,
            **({"handover": True} if instance.hands_over else {}),
            "is_healthy": self._is_healthy(instance),
            "metadata": {"models": instance.models},
        }

    def _is_healthy(self, instance: SimulatedInstance) -> bool:
        return instance.runs and not instance.drained

    def _answers(self, name: str) -> bool:
        return name in self.instances and self.instances[name].runs

    # What the engine does.

    def stop(self, task: Task) -> None:
        instance = self.instances[task.name]
        assert instance.drained, f"{task.name} is stopped while it serves"
        self.calls.append(f"stop {task.name} with {instance.in_flight} in flight")
        instance.runs = False

    def change(self, task: Task) -> None:
        self.calls.append(f"{task.operation.value} {task.name}")
        if task.operation is InstanceOperation.REMOVE:
            del self.instances[task.name]
            return
        instance = self.instances.setdefault(task.name, SimulatedInstance("m"))
        instance.starts += 1
        instance.runs = not instance.broken and not instance.on_demand

    def wake(self, component: Component) -> None:
        self.calls.append(f"wake {component.name}")
        instance = self.instances[component.name]
        instance.wakes_needed -= 1
        instance.runs = instance.wakes_needed <= 0

    def set_drained(self, task: Task, drained: bool, handover: bool = False) -> bool:
        if not self.registry_answers:
            return False
        self.calls.append(f"{'hand over' if handover else 'drain' if drained else 'undrain'} {task.name}")
        if task.name in self.instances:
            self.instances[task.name].drained = drained
            self.instances[task.name].hands_over = handover and self.registry_knows_handovers
        return True

    def deregister(self, task: Task) -> bool:
        self.calls.append(f"deregister {task.name}")
        return True

    # What the engine shows.

    def __enter__(self) -> "SimulatedSite":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def show(self, name: str, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.lines.append(text)

    def done(self, name: str, text: str) -> None:
        self.lines.append(f"{name}: {text}")
