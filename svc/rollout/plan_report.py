"""The report of `svc plan`, as an object for programs and as lines for people. Pure."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from svc.config.instance.registry_use import RegistryUse, use_line
from svc.protocol.instance_names import babysitter_program, server_program
from svc.protocol.on_demand_variables import ON_DEMAND_VARIABLE
from svc.rollout.availability import Loss
from svc.rollout.diff import ChangeKind, Edit, GroupChange, Update
from svc.rollout.diff_text import masked_edits

STATES_ENDED = ("STOPPED", "EXITED", "FATAL")
KEYS_OF_ADDED = ("command", "directory")  # keys that are shown for an added program, in addition to its environment
TYPES = {"babysitter": "instance", "": "other"}
MARKS = {"added": "+", "removed": "-", "changed": "~", "new": "+", "gone": "-"}


@dataclasses.dataclass(frozen=True, slots=True)
class FileRow:
    path: str
    change: str  # new, changed, gone


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramRow:
    name: str
    effect: str  # starts, stops, restarts, stays asleep
    edits: list[Edit]


@dataclasses.dataclass(frozen=True, slots=True)
class ComponentRow:
    name: str
    type: str  # instance, registry, router, other
    change: str  # added, removed, changed
    effect: str
    edits: list[Edit]
    programs: list[ProgramRow]


@dataclasses.dataclass(frozen=True, slots=True)
class PlanReport:
    changes: bool
    supervisord: int | None
    files: list[FileRow]
    parts: list[ComponentRow]
    without_instance: list[Loss] | None  # None: unknown, because the registry does not answer
    registries: list[RegistryUse]
    foreign: list[str]
    notes: list[str]


def plan_report(
    changes: Sequence[GroupChange],
    files: Sequence[FileRow],
    supervisord_pid: int | None,
    program_states: Mapping[str, str],
    losses: list[Loss] | None,
    registries: Sequence[RegistryUse],
    foreign: Sequence[str],
    notes: Sequence[str],
) -> PlanReport:
    rows = [_component_row(change, program_states) for change in changes]
    return PlanReport(bool(rows or files), supervisord_pid, [*files], rows, losses, [*registries], [*foreign], [*notes])


def file_rows(added: Iterable[object], changed: Iterable[object], removed: Iterable[object]) -> list[FileRow]:
    """Return a row for each file that would be written or removed; the arguments are paths."""
    changes = (("new", added), ("changed", changed), ("gone", removed))
    return [FileRow(str(path), change) for change, paths in changes for path in paths]


def lines(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Yield the lines of the report, each with its style."""
    for part in report.parts:
        mark = MARKS[part.change]
        yield f"{mark} {part.name}: {part.change}: {part.effect}", {"+": "green", "-": "red", "~": "yellow"}[mark]
        yield from ((f"    {_edit_text(edit)}", "") for edit in part.edits)
        for program in part.programs:
            if program.edits:
                yield f"    {program.name}", "bold"
                yield from ((f"      {_edit_text(edit)}", "") for edit in program.edits)
    yield from ((f"{MARKS.get(file.change, '~')} {file.path}: {file.change}", "dim") for file in report.files)
    for loss in report.without_instance or ():
        when = f"once {loss.instance} is gone" if loss.forever else f"while {loss.instance} restarts"
        yield f"! {loss.model}: no instance {when}, its last healthy one; svc apply needs --allow-downtime", "red"
    yield from ((f"  {use_line(use)}", "dim") for use in report.registries)
    yield from ((f"! {note}", "") for note in report.notes)
    yield from ((f"  {path}: not made by svc render; supervisord runs it as well", "dim") for path in report.foreign)
    yield _summary(report), "bold"


def _component_row(change: GroupChange, program_states: Mapping[str, str]) -> ComponentRow:
    programs = [
        ProgramRow(name, effect, _program_edits(change, name))
        for name, effect in _program_effects(change, program_states)
    ]
    edits = [] if change.kind is not ChangeKind.CHANGED else list(masked_edits(change.edits))
    kind = TYPES.get(change.component_kind, change.component_kind)
    effect = _component_effect(change, programs, program_states)
    return ComponentRow(change.name, kind, change.kind.value, effect, edits, programs)


def _program_effects(change: GroupChange, program_states: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each program that starts, stops or restarts, and which of the three it does."""
    kinds = {program.name: program.kind for program in change.programs}
    for name in change.members:
        kind = change.kind if change.kind is not ChangeKind.CHANGED else kinds.get(name, ChangeKind.CHANGED)
        if (
            kind is ChangeKind.CHANGED
            and change.update is not Update.REPLACE
            and name not in _restarted_programs(change)
        ):
            continue
        if name == server_program(change.name) and (change.update is Update.REPLACE_ASLEEP or _is_added_asleep(change)):
            yield name, "stays asleep"
            continue
        starts = kind is ChangeKind.ADDED or (kind is ChangeKind.CHANGED and program_states.get(name) in STATES_ENDED)
        yield name, "starts" if starts else "stops" if kind is ChangeKind.REMOVED else "restarts"


def _is_added_asleep(change: GroupChange) -> bool:
    """Return whether a new instance is on demand, so that it is not started."""
    servers = [program for program in change.programs if program.name == server_program(change.name)]
    keys = {edit.key for server in servers for edit in server.edits}
    return change.kind is ChangeKind.ADDED and f"environment.{ON_DEMAND_VARIABLE}" in keys


def _restarted_programs(change: GroupChange) -> set[str]:
    renews_babysitter = change.stale_config or change.update is Update.REPLACE_ASLEEP
    return {p.name for p in change.programs} | ({babysitter_program(change.name)} if renews_babysitter else set())


def _program_edits(change: GroupChange, name: str) -> list[Edit]:
    change_of_program = next((program for program in change.programs if program.name == name), None)
    if change_of_program is None:
        return []
    if change_of_program.kind is ChangeKind.CHANGED:
        return list(masked_edits(change_of_program.edits))
    edits = [e for e in change_of_program.edits if e.key in KEYS_OF_ADDED or e.key.startswith("environment.")]
    return list(masked_edits(edits)) if change_of_program.kind is ChangeKind.ADDED else []


def _component_effect(change: GroupChange, programs: Sequence[ProgramRow], program_states: Mapping[str, str]) -> str:
    """Return a text on what happens to a component's programs, and on what clients notice."""
    text = ", ".join(f"{program.name} {program.effect}" for program in programs)
    if change.component_kind == "router":
        return f"{text}; {_router_effect(change)}"
    if change.component_kind == "registry":
        return f"{text}; {_registry_effect(change)}"
    if change.component_kind == "babysitter":
        return f"{text}{_instance_effect(change, program_states)}"
    return text


def _router_effect(change: GroupChange) -> str:
    if change.kind is ChangeKind.ADDED:
        return "it takes requests at its address"
    if change.kind is ChangeKind.REMOVED:
        return "begun requests finish, new ones are refused"
    if any(edit.key == "socket" for edit in change.edits):
        return "begun requests finish, and it listens at another address: clients of the old one are refused"
    return "begun requests finish, new ones wait for the new one: none is refused"


def _registry_effect(change: GroupChange) -> str:
    if change.kind is ChangeKind.ADDED:
        return "babysitters register, and routers ask it"
    if change.kind is ChangeKind.REMOVED:
        return "routers keep the instances that they know"
    edits = [edit for program in change.programs for edit in masked_edits(program.edits)]
    if any(edit.key == "command" and (edit.new or "").startswith("--store ") for edit in edits):
        return "it has another store: drain marks and registrations that are not in that store are gone"
    return "routers go on with the instances that they know, babysitters with their heartbeats"


def _instance_effect(change: GroupChange, program_states: Mapping[str, str]) -> str:
    server = server_program(change.name)
    kept = f"{server} {'stays stopped' if program_states.get(server) in STATES_ENDED else 'runs on'}"
    if change.update is Update.REPLACE_ASLEEP:
        return "; the new configuration counts when it wakes"
    if change.update is Update.REPLACE:
        return ", drained first: what it has begun, it finishes"
    if change.update is Update.REMOVE:
        return ", drained first; it leaves the registry"
    if change.update is Update.REPLACE_BABYSITTER:
        return f"; {kept}"
    if change.update is Update.RESTART_BABYSITTER:
        return f" to read its TOML again; {kept}"
    return ""


def _edit_text(edit: Edit) -> str:
    """Return an edit as "key: old -> new". Add a note if masked values look equal although they differ."""
    key = edit.key.replace("environment.", "env ", 1)
    if edit.old is None:
        return f"{key}: + {edit.new}"
    if edit.new is None:
        return f"{key}: - {edit.old}"
    return f"{key}: {edit.old} -> {edit.new}{' (another value)' if edit.old == edit.new else ''}"


def _summary(report: PlanReport) -> str:
    if not report.changes:
        return "Nothing to do: what runs is what the files say."
    counts = {change: sum(part.change == change for part in report.parts) for change in ("added", "changed", "removed")}
    restarts = sum(
        p.effect == "restarts" and p.name.endswith(":server") for part in report.parts for p in part.programs
    )
    counts_text = ", ".join(f"{count} {change}" for change, count in counts.items())
    if report.supervisord is None:
        return f"{counts_text}. No supervisord runs here: `svc up` starts all of it."
    return f"{counts_text}; {restarts} instance{'' if restarts == 1 else 's'} to restart. `svc apply` does it."
