"""Updates programs that need no drain: registry, router, babysitters, and programs that svc did not render."""

import time
from collections.abc import Callable, Iterable, Mapping

from svc.base.errors import CommandError
from svc.client import probe
from svc.protocol.instance_names import babysitter_program, server_program
from svc.rollout.diff import GroupChange, Update
from svc.site import observe
from svc.site.components import Component
from svc.site.program_groups import asleep_instances, loaded_config_digest
from svc.supervision.client import SupervisordClient
from svc.terminal.delay_report import DelayReport, Explain
from svc.terminal.progress import Waiting

POLL_INTERVAL_SECONDS = 0.2
ORDER = {"registry": 0, "router": 1, "babysitter": 2}  # all other programs, which svc did not render, come last

Ready = Callable[[], bool]


def renew(
    changes: Iterable[GroupChange],
    components: Mapping[str, Component],
    supervisord: SupervisordClient,
    progress: Waiting,
    timeout: float,
    explain: Explain | None = None,
) -> None:
    """Carry out the changes one after the other, and wait after each change until the component is ready.

    Raise CommandError if a component is not ready `timeout` seconds after its change.
    """
    for change in sorted(changes, key=lambda change: (ORDER.get(change.component_kind, 3), change.name)):
        progress.show(change.name, change.update.value)
        component = components.get(change.name)
        ready = _readiness(change, component, supervisord)
        if component and change.update is Update.REPLACE_ASLEEP:
            _require_asleep(component, supervisord)
        _carry_out(change, supervisord)
        delay = DelayReport(explain, progress.note)
        hint = "; the rest is not begun; `svc status` and logs/ tell more"
        wait_until_ready(change.name, ready, timeout, hint, delay)
        progress.done(change.name, f"done: {change.update.value}")


def reload_router(component: Component, supervisord: SupervisordClient, timeout: float, delay: DelayReport) -> None:
    """Make gunicorn replace its workers: new workers take over the socket while old workers finish their requests."""
    supervisord.signal("router", "HUP")
    wait_until_ready("router", _answers(component), timeout, delay=delay)


def restart_registry(component: Component, supervisord: SupervisordClient, timeout: float, delay: DelayReport) -> None:
    supervisord.restart("registry")
    wait_until_ready("registry", _answers(component), timeout, delay=delay)


def restart_asleep(component: Component, supervisord: SupervisordClient, timeout: float, delay: DelayReport) -> None:
    """Replace the babysitter of an instance that is asleep, and stop its sleeping engine; the instance stays asleep."""
    _require_asleep(component, supervisord)
    ready = _taken_over(component, supervisord)
    supervisord.stop(component.server_program)
    supervisord.replace_babysitter(component.babysitter_program)
    wait_until_ready(component.name, ready, timeout, delay=delay)


def _require_asleep(component: Component, supervisord: SupervisordClient) -> None:
    """Raise CommandError if a request has woken the instance meanwhile, because it must then be drained first."""
    if not asleep_instances([component], supervisord):
        raise CommandError(f"{component.name}: it has woken meanwhile; run this again, which drains it first")


def wait_until_ready(
    name: str, ready: Ready, timeout: float, hint: str = "; see `svc status`", delay: DelayReport | None = None
) -> None:
    """Wait until a component is ready. Raise CommandError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise CommandError(f"{name}: it does not answer after {timeout:g} s{hint}")
        if delay:
            delay.update([name])
        time.sleep(POLL_INTERVAL_SECONDS)


def _carry_out(change: GroupChange, supervisord: SupervisordClient) -> None:
    if change.update in (Update.REPLACE_BABYSITTER, Update.RESTART_BABYSITTER):
        supervisord.replace_babysitter(babysitter_program(change.name))
    elif change.update is Update.REPLACE_ASLEEP:
        supervisord.replace(server_program(change.name))  # does not start the server
        supervisord.replace_babysitter(babysitter_program(change.name))
    elif change.update is Update.REPLACE_PROGRAM:
        supervisord.replace(change.name)
    else:
        if change.update is not Update.ADD:
            supervisord.remove(change.name)
        if change.update is not Update.REMOVE:
            supervisord.add(change.name)


def _readiness(change: GroupChange, component: Component | None, supervisord: SupervisordClient) -> Ready:
    """Return a function that checks whether a change has taken effect.

    For a program that svc did not render, the function always returns True.
    """
    if component is None:
        return lambda: True
    if change.component_kind == "babysitter":
        return _taken_over(component, supervisord)
    return _answers(component)


def _taken_over(component: Component, supervisord: SupervisordClient) -> Ready:
    """Return a function that checks whether a new babysitter process has taken over and answers."""
    name = component.babysitter_program
    old_pid = supervisord.process(name).pid

    def ready() -> bool:
        process = supervisord.process(name)
        return process.state == "RUNNING" and process.pid != old_pid and loaded_config_digest(component) is not None

    return ready


def _answers(component: Component) -> Ready:
    return lambda: probe.is_healthy(component.health_url, observe.HTTP_TIMEOUT_SECONDS, verify=False)
