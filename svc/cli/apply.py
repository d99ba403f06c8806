"""`svc apply`: what runs becomes what the files say, one component after the other, without a failed request."""

import dataclasses
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import click

from svc.base.errors import CommandError, ConfigError
from svc.cli.options import HERE, console, settings
from svc.cli.rollout_options import rollout_options
from svc.client import probe
from svc.protocol.instance_names import babysitter_program
from svc.rollout import port_order
from svc.rollout.context import WORDS, Ground, RolloutOptions, ground, running, unfinished
from svc.rollout.diff import PartChange, Way
from svc.rollout.journal import Journal, alone
from svc.rollout.proposal import Proposal, propose
from svc.rollout.steps import Act, Task, ordered
from svc.site import observe
from svc.site.components import Component
from svc.site.ports import refuse_taken
from svc.site.program_groups import loaded_config
from svc.supervision.client import SupervisordClient
from svc.terminal.progress import Waiting, waiting

PAUSE = 0.2  # seconds between two looks
ACTS = {Way.ADD: Act.ADD, Way.REMOVE: Act.REMOVE, Way.REPLACE: Act.REPLACE}
NEW = (Way.ADD, Way.REPLACE, Way.REPLACE_PROGRAM)


@click.command()
@click.argument("tomls", nargs=-1, metavar="[TOML...]")
@rollout_options
def command(options: RolloutOptions, tomls: tuple[str, ...]) -> None:
    """Bring what runs in line with the files, without failing a request: what `svc plan` shows.

    Renders as `svc render [TOML...]` does and checks everything before anything moves: the files, the
    ports, that no model loses its last healthy instance on all hosts (unless --allow-downtime). Then
    it writes conf.d and changes only what differs, one after the other:

    \b
    - new instances are started and waited for;
    - changed ones are drained in the registry, given up by the router when nothing is in
      flight, restarted by their new configuration, waited for until the router uses them;
    - removed ones are drained in the same way, then stopped;
    - where only the babysitter reads what differs, another takes over and the server runs on;
    - the router keeps its socket: connections wait while it restarts.

    What an operator has drained stays drained. At the first that does not come back it stops with exit
    code 1: that one stays drained, the others are as they were, and `svc plan` shows what is left.
    However it ended, with Ctrl-C or killed, running it again finishes it. With nothing to do it says
    so and exits with 0.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    HERE.make_dirs()
    with alone(HERE, ["apply", *tomls]):
        _apply(options, tomls)


def _apply(options: RolloutOptions, tomls: Sequence[str]) -> None:
    supervisord, out = running(HERE), console()
    proposal, journal = propose(HERE, settings(environ=False), tomls), Journal.of(HERE)
    if not proposal and not (journal.ours or journal.begun):
        out.print_line("nothing to do: what runs is what the files say")
        return
    instances = {c.name: c for c in proposal.changes if c.component == "babysitter" and c.way in ACTS}
    others = [change for change in proposal.changes if change.name not in instances]
    after = _ports(proposal, supervisord, instances)
    strict = any(change.way is not Way.ADD for change in instances.values())
    moving = any(c.component in ("registry", "router") and c.way in NEW for c in others)
    try:
        here: Ground | None = ground(HERE, options, out, supervisord, strict)
    except CommandError:
        if not moving:
            raise
        here = None  # it may answer once it is there, or at its new address
    if here:
        _refuse(here, proposal, journal, instances, after)
    if options.dry_run:
        _tell(out.print_line, proposal, instances)
        return
    proposal.files.write()
    supervisord.changes()  # supervisord reads them
    late = [change for change in others if change.component and change.way is Way.REMOVE]
    with waiting(out) as shown:
        _renew(
            [change for change in others if change not in late], proposal, supervisord, shown, options.limits.timeout
        )
    if here is None or moving:
        here = ground(HERE, options, out, supervisord, strict)
    tasks = _refuse(here, proposal, journal, instances, after)
    journal.begin("apply", time.time())
    here.roll(tasks, {component.name: component for component in proposal.components}, journal)
    for change in late:
        supervisord.remove(change.name)
        here.say(f"{change.name}: removed")


def _refuse(
    here: Ground,
    proposal: Proposal,
    journal: Journal,
    instances: Mapping[str, PartChange],
    after: Mapping[str, set[str]],
) -> list[Task]:
    """The tasks, if they may be; raises CommandError and ConfigError."""
    components = {**here.components, **{component.name: component for component in proposal.components}}
    here = dataclasses.replace(here, components=components)
    tasks = [here.task(name, ACTS[change.way], after.get(name, ())) for name, change in instances.items()]
    tasks += unfinished(here, journal, list(instances))
    tasks = ordered(tasks, here.scene)
    here.refuse(tasks, journal)
    return tasks


def _ports(
    proposal: Proposal, supervisord: SupervisordClient, instances: Mapping[str, PartChange]
) -> dict[str, set[str]]:
    """Who waits for whose port; raises ConfigError for one that is taken.

    The router comes before the instances, and supervisord would not survive that it cannot bind its address.
    """
    new = {change.name for change in proposal.changes if change.way in NEW}
    components = [component for component in proposal.components if component.name in new]
    refuse_taken(components, supervisord, new)
    there = port_order.held(supervisord.programs().groups)
    for component in components:
        if component.kind in ("registry", "router"):
            for name, ports in there.items():
                if name != component.name and set(component.ports) & ports:
                    raise ConfigError(
                        f"{component.name}: port {component.ports[0]} is {name}'s still; "
                        "move that first, apply, and then this"
                    )
    leaving = [name for name, change in instances.items() if change.way is not Way.ADD]
    return port_order.waits(
        {component.name: component.ports for component in components if component.name in instances}, there, leaving
    )


def _tell(say: Callable[..., None], proposal: Proposal, instances: Mapping[str, PartChange]) -> None:
    """What would be done; `svc plan` shows why."""
    files = proposal.files
    for what, paths in (("new", files.added), ("changed", files.changed), ("gone", files.removed)):
        for path in paths:
            say(f"{path}: {what}")
    for change in proposal.changes:
        text = WORDS[ACTS[change.way]] if change.name in instances else change.way.value
        say(f"{change.name}: {text}")


# All but the instances.


def _renew(
    changes: Iterable[PartChange], proposal: Proposal, supervisord: SupervisordClient, shown: Waiting, timeout: float
) -> None:
    """The registry first, then the router, then the babysitters that others replace, and programs that are not ours."""
    rank = {"registry": 0, "router": 1, "babysitter": 2}
    components = {component.name: component for component in proposal.components}
    for change in sorted(changes, key=lambda change: (rank.get(change.component, 3), change.name)):
        shown.show(change.name, change.way.value)
        component, well = components.get(change.name), _nothing
        if component and change.component == "babysitter":
            well = _taken_over(supervisord, component)
        elif component:
            well = _healthy(component)
        _carry_out(change, supervisord)
        _wait(change.name, well, timeout)
        shown.done(change.name, f"done: {change.way.value}")


def _carry_out(change: PartChange, supervisord: SupervisordClient) -> None:
    if change.way in (Way.REPLACE_BABYSITTER, Way.RESTART_BABYSITTER):
        supervisord.hand_over(babysitter_program(change.name))
    elif change.way is Way.REPLACE_PROGRAM:
        supervisord.replace(change.name)
    else:
        if change.way is not Way.ADD:
            supervisord.remove(change.name)
        if change.way is not Way.REMOVE:
            supervisord.add(change.name)


def _taken_over(supervisord: SupervisordClient, component: Component) -> Callable[[], bool]:
    name = component.babysitter_program
    before = supervisord.process(name).pid

    def done() -> bool:
        process = supervisord.process(name)
        return process.state == "RUNNING" and process.pid != before and loaded_config(component) is not None

    return done


def _healthy(component: Component) -> Callable[[], bool]:
    return lambda: probe.healthy(component.health_url, observe.PATIENCE, verify=False)


def _nothing() -> bool:
    return True


def _wait(name: str, well: Callable[[], bool], timeout: float) -> None:
    end = time.monotonic() + timeout
    while not well():
        if time.monotonic() > end:
            late = f"{name}: it does not answer after {timeout:g} s"
            raise CommandError(f"{late}; the rest is not begun; `svc status` and logs/ tell more")
        time.sleep(PAUSE)
