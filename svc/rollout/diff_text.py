"""Formats differences for people: commands are compared argument by argument, and secrets are masked. Pure."""

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence

from svc.base.mask import MASK, is_secret, without_secrets
from svc.rollout.diff import Edit

Argument = tuple[str, ...]  # a flag with its value, or a single word

ASSIGNMENT = re.compile(r"(-*([A-Za-z_][\w.-]*)=).+", re.DOTALL)
DETOUR = "/conf.d/.."  # occurs in rendered paths, because they are relative to conf.d


def masked_edits(edits: Sequence[Edit]) -> Iterator[Edit]:
    """Yield the edits with masked secrets. An edit of a command becomes one edit for each changed argument."""
    for edit in edits:
        if edit.key == "command":
            yield from (Edit("command", old, new) for old, new in command_differences(edit.old, edit.new))
        else:
            yield Edit(edit.key, *(_value(edit.key, value) for value in (edit.old, edit.new)))


def command_differences(old: str | None, new: str | None) -> Iterator[tuple[str | None, str | None]]:
    """Yield the old and the new text of each argument that differs; a flag and its value are one argument."""
    if old is None or new is None:
        yield _command_text(old), _command_text(new)
        return
    before, after = _arguments(old), _arguments(new)
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from _pairs(before[a:b], after[c:d])


def _pairs(old: Sequence[Argument], new: Sequence[Argument]) -> Iterator[tuple[str | None, str | None]]:
    """Yield the old and the new argument for each flag in both lists, then all other arguments of both lists."""
    before, after = _by_flag(old), _by_flag(new)
    common = [flag for flag in before if flag in after]
    for flag in common:
        yield _text([before[flag]]), _text([after[flag]])
    rest = [[argument for argument in side if _flag(argument) not in common] for side in (old, new)]
    if any(rest):
        yield _text(rest[0]) or None, _text(rest[1]) or None


def _by_flag(arguments: Sequence[Argument]) -> dict[str, Argument]:
    """Return a dict from flags to the arguments with this flag and a value; omit flags that occur more than once."""
    flags = [_flag(argument) for argument in arguments]
    return {flag: a for flag, a in zip(flags, arguments, strict=True) if len(a) == 2 and flags.count(flag) == 1}


def _flag(argument: Argument) -> str:
    """Return an argument's flag; for `--env`, which `svc launch` accepts repeatedly, with the variable's name."""
    return f"--env {argument[1].partition('=')[0]}" if argument[0] == "--env" and len(argument) == 2 else argument[0]


def _arguments(command: str) -> list[Argument]:
    try:
        tokens = shlex.split(command)
    except ValueError:  # wrong quoting, which supervisord reports when it starts the program
        tokens = command.split()
    arguments: list[Argument] = []
    for word in tokens:
        last = arguments[-1] if arguments else ()
        takes_value = len(last) == 1 and last[0].startswith("-") and last[0] != "--" and "=" not in last[0]
        if takes_value and not word.startswith("-"):
            arguments[-1] = (*last, word)
        else:
            arguments.append((word,))
    return arguments


def _command_text(command: str | None) -> str | None:
    return None if command is None else _text(_arguments(command))


def _text(arguments: Sequence[Argument]) -> str:
    return " ".join(_quoted(word) for argument in arguments for word in _masked(argument))


def _masked(argument: Argument) -> Iterator[str]:
    flag = argument[0].lstrip("-") if len(argument) == 2 else ""
    for word in argument:
        yield MASK if word is not argument[0] and is_secret(flag) else _without_secrets(word)


def _value(key: str, value: str | None) -> str | None:
    if value is None:
        return None
    return MASK if is_secret(key.removeprefix("environment.")) else _without_secrets(value)


def _without_secrets(text: str) -> str:
    """Return the text with masked secrets and without detours through conf.d in its paths."""
    if (assignment := ASSIGNMENT.fullmatch(text)) and is_secret(assignment[2]):
        return assignment[1] + MASK
    return without_secrets(text.replace(DETOUR, ""))


def _quoted(word: str) -> str:
    return word if word and not re.search(r"[\s'\"]", word) else shlex.quote(word)
