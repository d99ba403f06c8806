"""Text into supervisord's INI files so that the child gets exactly that text.

configparser reads the files first: it ends a value at a `;` or `#` after a
blank, strips every line, and joins continuation lines. Then `%(here)s` is
replaced, `%` expanded once, and shlex splits `command` (POSIX) and
`environment` (the old rules in supervisor 4.3, POSIX in 4.4: what is written
here reads the same under both).
"""

import re
import shlex
from collections.abc import Iterable, Mapping

from svc.base import shim_variables
from svc.config.readers import why_unusable

BREAK = "%(program_name).0s"  # expands to nothing; splits what would otherwise be read as syntax
# supervisord looks commands up in a program's own PATH, and our shim's Python and loader would obey the others.
NOT_FOR_THE_SHIM = re.compile(r"PATH|(PYTHON|LD_).*")


def escape(text: str) -> str:
    """Survive configparser and one round of % expansion."""
    if why_unusable(text):
        raise ValueError(f"{text!r} {why_unusable(text)}")
    text = text.replace("%", "%%").replace("%(here)s", f"%{BREAK}(here)s")
    text = re.sub(r"(?<=\s)([;#])", rf"{BREAK}\1", text)
    return text.replace("\n", f"{BREAK}\n  {BREAK}")


def bare(text: str) -> str:
    """A value that takes no quotes, such as directory=."""
    return f"{BREAK}{escape(text)}{BREAK}" if text != text.strip() else escape(text)


def here(path: str) -> str:
    """A word of a command: a path as seen from the file's own directory."""
    return "'%(here)s/" + escape(path.replace("'", "'\"'\"'")) + "'"


def words(argv: Iterable[str]) -> str:
    """Words of a command, each of them one argument of the child."""
    return escape(" ".join(shlex.quote(word) for word in argv))


def environment(variables: Mapping[str, str]) -> str:
    """The text for environment=; what it cannot hold, and what the shim would obey, is encoded for the shim."""
    return escape(",".join(_assigned(key, value) for key, value in variables.items()))


def _assigned(key: str, value: str) -> str:
    if NOT_FOR_THE_SHIM.fullmatch(key) or not _quote(value):
        key, value = shim_variables.encoded(key, value)
    quote = _quote(value)
    return f"{key}={quote}{value}{quote}"


def _quote(value: str) -> str:
    """The quote that a value can stand in, under the old rules and under POSIX's; empty if there is none."""
    if value[:1] in ("'", '"') or value[-1:] in ("'", '"'):  # the old rules strip quotes off the value, too
        return ""
    if '"' not in value and "\\" not in value:
        return '"'
    return "" if "'" in value else "'"
