"""Quotes text for supervisord's INI files, so that the child process gets exactly that text.

configparser reads the files first: it ends a value at a `;` or `#` after a blank, strips every line, and joins
continuation lines. Then supervisord replaces `%(here)s` and expands `%` once, and shlex splits `command` (POSIX) and
`environment` (the old rules in supervisor 4.3, POSIX in 4.4: the text written here means the same under both).
"""

import re
import shlex
from collections.abc import Iterable, Mapping

from svc.base import shim_variables
from svc.config.readers import why_unusable

BREAK = "%(program_name).0s"  # expands to nothing; separates characters that would be read as syntax
# supervisord looks commands up in a program's own PATH; the Python and the loader of `svc launch` obey the others.
ENCODED_VARIABLES = re.compile(r"PATH|(PYTHON|LD_).*")


def escape(text: str) -> str:
    """Return a text that configparser and one round of % expansion turn into `text`."""
    if why_unusable(text):
        raise ValueError(f"{text!r} {why_unusable(text)}")
    text = text.replace("%", "%%").replace("%(here)s", f"%{BREAK}(here)s")
    text = re.sub(r"(?<=\s)([;#])", rf"{BREAK}\1", text)
    return text.replace("\n", f"{BREAK}\n  {BREAK}")


def bare(text: str) -> str:
    """Return a value that takes no quotes, such as directory=."""
    return f"{BREAK}{escape(text)}{BREAK}" if text != text.strip() else escape(text)


def here_argument(path: str) -> str:
    """Return an argument of a command: a path relative to the directory of the file."""
    return "'%(here)s/" + escape(path.replace("'", "'\"'\"'")) + "'"


def arguments(argv: Iterable[str]) -> str:
    """Return the arguments of a command."""
    return escape(" ".join(map(shlex.quote, argv)))


def environment(variables: Mapping[str, str]) -> str:
    """Return the text for environment=. ENCODED_VARIABLES and values that it cannot hold are encoded for the shim."""
    return escape(",".join(_assignment(key, value) for key, value in variables.items()))


def _assignment(key: str, value: str) -> str:
    if ENCODED_VARIABLES.fullmatch(key) or not _quote(value):
        key, value = shim_variables.encoded(key, value)
    quote = _quote(value)
    return f"{key}={quote}{value}{quote}"


def _quote(value: str) -> str:
    """Return the quote that fits a value under the old rules and under POSIX's; empty if neither quote does."""
    if value[:1] in ("'", '"') or value[-1:] in ("'", '"'):  # the old rules strip quotes off the value as well
        return ""
    if '"' not in value and "\\" not in value:
        return '"'
    return "" if "'" in value else "'"
