"""Quote text for supervisord's INI files, so that the child process receives exactly that text.

First, configparser reads a file: it ends a value at a `;` or `#` after a blank, strips every line, and joins
continuation lines. Then supervisord replaces `%(here)s` and expands `%` once. Last, shlex splits `command` (by POSIX
rules) and `environment` (by older rules in supervisor 4.3, by POSIX rules in 4.4; the quoting here suits both).
"""

import re
import shlex
from collections.abc import Iterable, Mapping

from svc.config.readers import why_unusable
from svc.protocol import shim_variables

BREAK = "%(program_name).0s"  # expands to nothing; separates two characters that would be syntax if adjacent
# supervisord looks commands up in the program's PATH; the other variables affect the Python and loader of `svc launch`.
ENCODED_VARIABLES = re.compile(r"PATH|(PYTHON|LD_).*")


def escape(text: str) -> str:
    """Return the escaped form of `text`, which configparser and one % expansion turn back into `text`."""
    if why_unusable(text):
        raise ValueError(f"{text!r} {why_unusable(text)}")
    text = text.replace("%", "%%").replace("%(here)s", f"%{BREAK}(here)s")
    text = re.sub(r"(?<=\s)([;#])", rf"{BREAK}\1", text)
    return text.replace("\n", f"{BREAK}\n  {BREAK}")


def bare(text: str) -> str:
    """Return a text as an unquoted value, such as the value of directory=."""
    return f"{BREAK}{escape(text)}{BREAK}" if text != text.strip() else escape(text)


def here_argument(path: str) -> str:
    """Return a quoted command argument for `path`, which is relative to the INI file's directory."""
    return "'%(here)s/" + escape(path.replace("'", "'\"'\"'")) + "'"


def arguments(argv: Iterable[str]) -> str:
    """Return the arguments of a command, quoted and joined."""
    return escape(" ".join(map(shlex.quote, argv)))


def environment(variables: Mapping[str, str]) -> str:
    """Return the value of environment=. Variables that match ENCODED_VARIABLES, or cannot be quoted, are encoded."""
    return escape(",".join(_assignment(key, value) for key, value in variables.items()))


def _assignment(key: str, value: str) -> str:
    if ENCODED_VARIABLES.fullmatch(key) or not _quote(value):
        key, value = shim_variables.encoded(key, value)
    quote = _quote(value)
    return f"{key}={quote}{value}{quote}"


def _quote(value: str) -> str:
    """Return a quote character for a value that works under the old and the POSIX rules; "" if there is none."""
    if value[:1] in ("'", '"') or value[-1:] in ("'", '"'):  # the old rules also strip these quotes from the value
        return ""
    if '"' not in value and "\\" not in value:
        return '"'
    return "" if "'" in value else "'"
