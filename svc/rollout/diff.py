"""The differences between supervisord's running groups and the groups that the files define. Pure."""

import dataclasses
import enum
from collections.abc import Collection, Iterable, Iterator, Mapping

from svc.protocol.instance_names import babysitter_program, server_program
from svc.protocol.on_demand_variables import ON_DEMAND_VARIABLE
from svc.protocol.shim_variables import decoded
from svc.supervision.program_config import AUTO, GroupConfig, ProgramConfig


class ChangeKind(enum.Enum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Update(enum.Enum):
    """The smallest update after which a group matches the files."""

    ADD = "add"  # add the whole group
    REMOVE = "remove"  # remove the whole group
    REPLACE = "replace"  # replace the whole group, like `supervisorctl update`: server and babysitter both restart
    REPLACE_PROGRAM = "replace the program"  # stop and start it; the router keeps its socket
    REPLACE_BABYSITTER = "replace the babysitter"  # the server keeps running and serving
    REPLACE_ASLEEP = "replace what is asleep"  # an instance's server gets its new configuration without being started
    RESTART_BABYSITTER = "restart the babysitter"  # only so that the new process reads the TOML again


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """A key whose value changes, such as `command` or `environment.CUDA_VISIBLE_DEVICES`, with its old and new value.

    A value is None if the key is absent. The values may contain secrets, which `diff_text` masks.
    """

    key: str
    old: str | None
    new: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramChange:
    name: str  # full name as in supervisorctl, GROUP:NAME or NAME
    kind: ChangeKind
    edits: tuple[Edit, ...]  # an added or removed program has one for each of its keys


@dataclasses.dataclass(frozen=True, slots=True)
class GroupChange:
    """A change of a supervisord group: an instance with its babysitter, the registry, the router, or a foreign group.

    A foreign group is defined in a file that svc did not render.
    """

    name: str
    kind: ChangeKind
    component_kind: str  # registry, router, babysitter (for an instance), or "" for a foreign group
    edits: tuple[Edit, ...] = ()  # edits of the group's own keys
    programs: tuple[ProgramChange, ...] = ()
    stale_config: bool = False  # whether the babysitter has loaded an old version of its TOML
    members: tuple[str, ...] = ()  # names of all programs in the old or the new group
    asleep: bool = False  # whether the instance is on demand before and after the change, and asleep now

    @property
    def update(self) -> Update:
        """The smallest update that carries out the change.

        1. The whole group is updated if it is added, removed or foreign, or if its own keys or the set of its programs
           changed.
        2. For the registry and the router, their only program is replaced.
        3. If the instance is asleep and only its server has changed, the server is replaced without a drain.
        4. Otherwise the whole group is replaced if an instance's server has changed, else only the babysitter.
        """
        babysitter = babysitter_program(self.name)
        if self.kind is not ChangeKind.CHANGED:
            return Update.ADD if self.kind is ChangeKind.ADDED else Update.REMOVE  # rule 1
        if not self.component_kind or self.edits or any(p.kind is not ChangeKind.CHANGED for p in self.programs):
            return Update.REPLACE  # rule 1
        if self.component_kind != "babysitter":
            return Update.REPLACE_PROGRAM  # rule 2
        if self.asleep and [p.name for p in self.programs] == [server_program(self.name)]:
            return Update.REPLACE_ASLEEP  # rule 3
        if any(p.name != babysitter for p in self.programs):
            return Update.REPLACE  # rule 4
        return Update.REPLACE_BABYSITTER if self.programs else Update.RESTART_BABYSITTER

    @property
    def interrupts(self) -> bool:
        """Whether this change makes an instance stop serving, for a while or forever."""
        return self.component_kind == "babysitter" and self.update in (Update.REMOVE, Update.REPLACE)


def difference(
    running: Mapping[str, GroupConfig],
    wanted: Mapping[str, GroupConfig],
    stale_configs: Collection[str] = (),
    asleep: Collection[str] = (),
) -> list[GroupChange]:
    """Return a change for each group that differs, sorted by name.

    `stale_configs` are the instances whose babysitters have not loaded the current TOML.
    `asleep` are the instances that sleep.
    """
    changes = [_group_change(name, running, wanted, stale_configs) for name in sorted({*running, *wanted})]
    return [
        dataclasses.replace(change, asleep=change.name in asleep and _stays_on_demand(change.name, running, wanted))
        for change in changes
        if change
    ]


def component_kind(group: GroupConfig) -> str:
    """Return the component kind of a group, or an empty text for a group that svc did not render."""
    if {server_program(group.name), babysitter_program(group.name)} <= group.programs.keys():
        return "babysitter"
    return group.name if group.name in ("registry", "router") else ""


def _stays_on_demand(name: str, running: Mapping[str, GroupConfig], wanted: Mapping[str, GroupConfig]) -> bool:
    """Return whether an instance is on demand before and after the change."""
    groups = [groups[name] for groups in (running, wanted) if name in groups]
    programs = [group.programs.get(server_program(name)) for group in groups]
    return all(program is not None and ON_DEMAND_VARIABLE in program.environment for program in programs)


def _group_change(
    name: str, running: Mapping[str, GroupConfig], wanted: Mapping[str, GroupConfig], stale_configs: Collection[str]
) -> GroupChange | None:
    old, new = running.get(name), wanted.get(name)
    if old is None or new is None:
        kind, group = (ChangeKind.ADDED, new) if new else (ChangeKind.REMOVED, old)
        assert group is not None
        return GroupChange(
            name, kind, component_kind(group), (), tuple(_programs(old, new)), members=(*group.programs,)
        )
    edits, programs = tuple(_edits(old.keys, new.keys)), tuple(_programs(old, new))
    stale = name in stale_configs
    if not (edits or programs or stale):
        return None
    members = tuple({**new.programs, **old.programs})
    return GroupChange(name, ChangeKind.CHANGED, component_kind(new), edits, programs, stale, members)


def _programs(old: GroupConfig | None, new: GroupConfig | None) -> Iterator[ProgramChange]:
    before: Mapping[str, ProgramConfig] = old.programs if old else {}
    after: Mapping[str, ProgramConfig] = new.programs if new else {}
    for name in {**after, **before}:  # in the order of the new files
        kind = (
            ChangeKind.ADDED if name not in before else ChangeKind.REMOVED if name not in after else ChangeKind.CHANGED
        )
        edits = tuple(_edits(_keys(before.get(name)), _keys(after.get(name))))
        if edits:
            yield ProgramChange(name, kind, edits)


def _keys(program: ProgramConfig | None) -> Mapping[str, str]:
    if program is None:
        return {}
    return {**program.keys, **{f"environment.{key}": value for key, value in decoded(program.environment).items()}}


def _edits(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Edit]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if before != after and not (AUTO in (before, after) and None not in (before, after)):
            yield Edit(key, before, after)
