"""What `svc plan` says: an object for programs, lines for people. Pure."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from svc.protocol.instance_names import babysitter_program, server_program
from svc.rollout.availability import Loss
from svc.rollout.diff import Edit, Kind, PartChange, Way
from svc.rollout.diff_text import shown

ENDED = ("STOPPED", "EXITED", "FATAL")
TOLD_OF_NEW = ("command", "directory")  # of a program that comes or goes: these, and its environment
TYPES = {"babysitter": "instance", "": "other"}
MARKS = {"added": "+", "removed": "-", "changed": "~", "new": "+", "gone": "-"}


@dataclasses.dataclass(frozen=True, slots=True)
class FileRow:
    path: str
    change: str  # new, changed, gone


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramRow:
    name: str
    effect: str  # starts, stops, restarts
    edits: list[Edit]


@dataclasses.dataclass(frozen=True, slots=True)
class PartRow:
    name: str
    type: str  # instance, registry, router, other
    change: str  # added, removed, changed
    effect: str
    edits: list[Edit]
    programs: list[ProgramRow]


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    changes: bool
    supervisord: int | None
    files: list[FileRow]
    parts: list[PartRow]
    without_instance: list[Loss] | None  # None: not known
    foreign: list[str]
    notes: list[str]


def report(
    changes: Sequence[PartChange],
    edits: Sequence[FileRow],
    supervisord: int | None,
    states: Mapping[str, str],
    lost: list[Loss] | None,
    foreign: Sequence[Path],
    notes: Sequence[str],
) -> Report:
    """`states`: supervisord's, by program."""
    parts = [_part(change, states) for change in changes]
    paths = [str(path) for path in foreign]
    return Report(bool(parts or edits), supervisord, [*edits], parts, lost, paths, [*notes])


def lines(told: Report) -> Iterator[tuple[str, str]]:
    """Each with its style."""
    for part in told.parts:
        mark = MARKS[part.change]
        yield f"{mark} {part.name}: {part.change}: {part.effect}", {"+": "green", "-": "red", "~": "yellow"}[mark]
        yield from ((f"    {_edit(edit)}", "") for edit in part.edits)
        for program in part.programs:
            if program.edits:
                yield f"    {program.name}", "bold"
                yield from ((f"      {_edit(edit)}", "") for edit in program.edits)
    yield from ((f"{MARKS.get(file.change, '~')} {file.path}: {file.change}", "dim") for file in told.files)
    for loss in told.without_instance or ():
        when = f"once {loss.instance} is gone" if loss.forever else f"while {loss.instance} restarts"
        yield f"! {loss.model}: no instance {when}, its last healthy one; that takes --allow-downtime", "red"
    yield from ((f"! {note}", "") for note in told.notes)
    yield from ((f"  {path}: not made by svc render; supervisord runs it as well", "dim") for path in told.foreign)
    yield _summary(told), "bold"


def _part(change: PartChange, states: Mapping[str, str]) -> PartRow:
    programs = [ProgramRow(name, effect, _edits(change, name)) for name, effect in _effects(change, states)]
    edits = [] if change.kind is not Kind.CHANGED else list(shown(change.edits))
    kind = TYPES.get(change.component, change.component)
    return PartRow(change.name, kind, change.kind.value, _effect(change, programs), edits, programs)


def _effects(change: PartChange, states: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What becomes of each program that does not just run on."""
    kinds = {program.name: program.kind for program in change.programs}
    for name in change.members:
        kind = change.kind if change.kind is not Kind.CHANGED else kinds.get(name, Kind.CHANGED)
        if kind is Kind.CHANGED and change.way is not Way.REPLACE and name not in _restarted(change):
            continue
        starts = kind is Kind.ADDED or (kind is Kind.CHANGED and states.get(name) in ENDED)
        yield name, "starts" if starts else "stops" if kind is Kind.REMOVED else "restarts"


def _restarted(change: PartChange) -> set[str]:
    return {p.name for p in change.programs} | ({babysitter_program(change.name)} if change.reread else set())


def _edits(change: PartChange, name: str) -> list[Edit]:
    found = next((program for program in change.programs if program.name == name), None)
    if found is None:
        return []
    if found.kind is Kind.CHANGED:
        return list(shown(found.edits))
    told = [e for e in found.edits if e.key in TOLD_OF_NEW or e.key.startswith("environment.")]
    return list(shown(told)) if found.kind is Kind.ADDED else []


def _effect(change: PartChange, programs: Sequence[ProgramRow]) -> str:
    """In words, what its users notice too."""
    done = ", ".join(f"{program.name} {program.effect}" for program in programs)
    if change.component == "router":
        return f"{done}; {_router(change)}"
    if change.component == "registry":
        return f"{done}; {_registry(change)}"
    if change.component == "babysitter":
        return f"{done}{_instance(change)}"
    return done


def _router(change: PartChange) -> str:
    if change.kind is Kind.ADDED:
        return "it takes requests at its address"
    if change.kind is Kind.REMOVED:
        return "begun requests finish, new ones are refused"
    if any(edit.key == "socket" for edit in change.edits):
        return "begun requests finish, and it listens at another address: clients of the old one are refused"
    return "begun requests finish, new ones wait for the new one: none is refused"


def _registry(change: PartChange) -> str:
    if change.kind is Kind.ADDED:
        return "babysitters register, and routers ask it"
    if change.kind is Kind.REMOVED:
        return "routers keep the instances that they know"
    words = [edit for program in change.programs for edit in shown(program.edits)]
    if any(edit.key == "command" and (edit.new or "").startswith("--store ") for edit in words):
        return "its store is another: what is drained, and who has not registered there, it does not know"
    return "routers go on with the instances that they know, babysitters with their heartbeats"


def _instance(change: PartChange) -> str:
    server = server_program(change.name)
    if change.way is Way.REPLACE:
        return ", drained first: what it has begun, it finishes"
    if change.way is Way.REMOVE:
        return ", drained first; it leaves the registry"
    if change.way is Way.REPLACE_BABYSITTER:
        return f"; {server} runs on"
    if change.way is Way.RESTART_BABYSITTER:
        return f" to read its TOML again; {server} runs on"
    return ""


def _edit(edit: Edit) -> str:
    """As key: old -> new; what is masked on both sides has changed all the same."""
    key = edit.key.replace("environment.", "env ", 1)
    if edit.old is None:
        return f"{key}: + {edit.new}"
    if edit.new is None:
        return f"{key}: - {edit.old}"
    return f"{key}: {edit.old} -> {edit.new}{' (another value)' if edit.old == edit.new else ''}"


def _summary(told: Report) -> str:
    if not told.changes:
        return "Nothing to do: what runs is what the files say."
    counts = {change: sum(part.change == change for part in told.parts) for change in ("added", "changed", "removed")}
    restarts = sum(p.effect == "restarts" and p.name.endswith(":server") for part in told.parts for p in part.programs)
    told_of = ", ".join(f"{count} {change}" for change, count in counts.items())
    if told.supervisord is None:
        return f"{told_of}. No supervisord runs here: `svc up` starts all of it."
    return f"{told_of}; {restarts} instance{'' if restarts == 1 else 's'} to restart. `svc apply` does it."
