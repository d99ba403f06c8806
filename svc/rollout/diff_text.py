"""What differs, as a reviewer reads it: a command's words as words, and no secrets. Pure."""

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence

from svc.base.mask import MASK, is_secret, without_secrets
from svc.rollout.diff import Edit

WHOLE = re.compile(r"(-*([A-Za-z_][\w.-]*)=).+", re.DOTALL)
UP = "/conf.d/.."


def shown(edits: Sequence[Edit]) -> Iterator[Edit]:
    """The same differences without secrets; those of a command one by one."""
    for edit in edits:
        if edit.key == "command":
            yield from (Edit("command", old, new) for old, new in compared(edit.old, edit.new))
        else:
            yield Edit(edit.key, *(_value(edit.key, value) for value in (edit.old, edit.new)))


def compared(old: str | None, new: str | None) -> Iterator[tuple[str | None, str | None]]:
    """The words that differ between two commands, a flag together with its value."""
    if old is None or new is None:
        yield tuple(None if text is None else _told(_arguments(text)) for text in (old, new))  # type: ignore[misc]
        return
    before, after = _arguments(old), _arguments(new)
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from _pairs(before[a:b], after[c:d])


Argument = tuple[str, ...]  # a flag with its value, or one word


def _pairs(old: Sequence[Argument], new: Sequence[Argument]) -> Iterator[tuple[str | None, str | None]]:
    """The values of one flag face each other; what is left is told as a whole."""
    before, after = _by_flag(old), _by_flag(new)
    faced = [flag for flag in before if flag in after]
    for flag in faced:
        yield _told([before[flag]]), _told([after[flag]])
    left = [[argument for argument in side if _flag(argument) not in faced] for side in (old, new)]
    if any(left):
        yield _told(left[0]) or None, _told(left[1]) or None


def _by_flag(arguments: Sequence[Argument]) -> dict[str, Argument]:
    """Those with a value whose flag comes once."""
    flags = [_flag(argument) for argument in arguments]
    return {flag: a for flag, a in zip(flags, arguments, strict=True) if len(a) == 2 and flags.count(flag) == 1}


def _flag(argument: Argument) -> str:
    """`svc launch` has a flag for each variable."""
    return f"--env {argument[1].partition('=')[0]}" if argument[0] == "--env" and len(argument) == 2 else argument[0]


def _arguments(command: str) -> list[Argument]:
    try:
        words = shlex.split(command)
    except ValueError:  # supervisord says so when it starts it
        words = command.split()
    found: list[Argument] = []
    for word in words:
        last = found[-1] if found else ()
        takes = len(last) == 1 and last[0].startswith("-") and last[0] != "--" and "=" not in last[0]
        if takes and not word.startswith("-"):
            found[-1] = (*last, word)
        else:
            found.append((word,))
    return found


def _told(arguments: Sequence[Argument]) -> str:
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
    """And without the detours that come of naming a site's files from conf.d."""
    if (whole := WHOLE.fullmatch(text)) and is_secret(whole[2]):
        return whole[1] + MASK
    return without_secrets(text.replace(UP, ""))


def _quoted(word: str) -> str:
    return word if word and not re.search(r"[\s'\"]", word) else shlex.quote(word)
