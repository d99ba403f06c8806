"""What runs, compared with what would run: the parts that `svc apply` would touch, and how. Pure."""

import dataclasses
import enum
from collections.abc import Collection, Iterable, Iterator, Mapping

from svc.base.shim_variables import decoded
from svc.protocol.instance_names import babysitter_program, server_program
from svc.supervision.programs import AUTO, Group, Program


class Kind(enum.Enum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Way(enum.Enum):
    """What brings a part in line with the files, the least that does."""

    ADD = "add"  # the whole group
    REMOVE = "remove"  # the whole group
    REPLACE = "replace"  # the whole group, as `supervisorctl update` does: of an instance, both programs restart
    REPLACE_PROGRAM = "replace the program"  # SupervisordClient.replace: the router keeps its socket
    REPLACE_BABYSITTER = "replace the babysitter"  # SupervisordClient.hand_over; its server runs on, and stays routed
    RESTART_BABYSITTER = "restart the babysitter"  # SupervisordClient.hand_over: it reads its TOML again; as before


@dataclasses.dataclass(frozen=True, slots=True)
class Edit:
    """One key that differs, None where there is none: `command`, `stopwaitsecs`, `environment.CUDA_VISIBLE_DEVICES`.

    The values are as they stand, secrets too: `svc.rollout.diff_text` shows them.
    """

    key: str
    old: str | None
    new: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramChange:
    name: str  # as supervisorctl writes it
    kind: Kind
    edits: tuple[Edit, ...]  # of an added or removed program: all that it has


@dataclasses.dataclass(frozen=True, slots=True)
class PartChange:
    """One of supervisord's groups: an instance with its babysitter, the registry, the router, or what is not ours."""

    name: str
    kind: Kind
    component: str  # registry, router or babysitter (an instance), as in Component; empty: not ours
    edits: tuple[Edit, ...] = ()  # of the group itself
    programs: tuple[ProgramChange, ...] = ()
    reread: bool = False  # the babysitter has loaded another TOML than there is now
    members: tuple[str, ...] = ()  # all its programs, those that go too

    @property
    def way(self) -> Way:
        """1. A group that comes or goes, or is not ours, or differs itself; 2. its only program; 3. an instance."""
        sidecar = babysitter_program(self.name)
        if self.kind is not Kind.CHANGED:
            return Way.ADD if self.kind is Kind.ADDED else Way.REMOVE  # 1
        if not self.component or self.edits or any(p.kind is not Kind.CHANGED for p in self.programs):
            return Way.REPLACE  # 1
        if self.component != "babysitter":
            return Way.REPLACE_PROGRAM  # 2
        if any(p.name != sidecar for p in self.programs):
            return Way.REPLACE  # 3
        return Way.REPLACE_BABYSITTER if self.programs else Way.RESTART_BABYSITTER

    @property
    def interrupts(self) -> bool:
        """Whether an instance stops serving, for a while or for good."""
        return self.component == "babysitter" and self.way in (Way.REMOVE, Way.REPLACE)


def difference(
    running: Mapping[str, Group], wanted: Mapping[str, Group], rereads: Collection[str] = ()
) -> list[PartChange]:
    """Every group that differs, by name; `rereads`: the instances whose TOML their babysitters have not read."""
    return [change for name in sorted({*running, *wanted}) if (change := _part(name, running, wanted, rereads))]


def component_of(group: Group) -> str:
    """As in Component."""
    if {server_program(group.name), babysitter_program(group.name)} <= group.programs.keys():
        return "babysitter"
    return group.name if group.name in ("registry", "router") else ""


def _part(
    name: str, running: Mapping[str, Group], wanted: Mapping[str, Group], rereads: Collection[str]
) -> PartChange | None:
    old, new = running.get(name), wanted.get(name)
    if old is None or new is None:
        kind, group = (Kind.ADDED, new) if new else (Kind.REMOVED, old)
        assert group is not None
        return PartChange(name, kind, component_of(group), (), tuple(_programs(old, new)), members=(*group.programs,))
    edits, programs = tuple(_edits(old.keys, new.keys)), tuple(_programs(old, new))
    reread = name in rereads
    if not (edits or programs or reread):
        return None
    members = tuple({**new.programs, **old.programs})
    return PartChange(name, Kind.CHANGED, component_of(new), edits, programs, reread, members)


def _programs(old: Group | None, new: Group | None) -> Iterator[ProgramChange]:
    before: Mapping[str, Program] = old.programs if old else {}
    after: Mapping[str, Program] = new.programs if new else {}
    for name in {**after, **before}:  # in the order of the file
        kind = Kind.ADDED if name not in before else Kind.REMOVED if name not in after else Kind.CHANGED
        edits = tuple(_edits(_keys(before.get(name)), _keys(after.get(name))))
        if edits:
            yield ProgramChange(name, kind, edits)


def _keys(program: Program | None) -> Mapping[str, str]:
    if program is None:
        return {}
    return {**program.keys, **{f"environment.{key}": value for key, value in decoded(program.environment).items()}}


def _edits(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Edit]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if before != after and not (AUTO in (before, after) and None not in (before, after)):
            yield Edit(key, before, after)
