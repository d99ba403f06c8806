"""Make text from other programs safe for terminals and logs. Pure.

Names, models, events, errors and log lines may contain control characters, which a terminal executes, and format
characters, which reorder or hide the text next to them.
"""

import json
import re
import unicodedata

# Control characters, format characters (such as direction overrides), surrogates, line and paragraph separators.
UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\N{SYMBOL FOR DELETE}"}
COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")  # SGR sequences change only the look of text
RESET = "\x1b[0m"


def printable(text: str, keep: str = "") -> str:
    """Return the text with each unsafe character that is not in `keep` replaced by one visible character.

    The length stays the same, so that positions of columns and styles stay valid.
    """
    if text.isprintable():
        return text
    return "".join(_picture(c) if is_unsafe(c) and c not in keep else c for c in text)


def escaped(text: str, keep: str = "") -> str:
    r"""Return the text with each unsafe character that is not in `keep` replaced by an escape such as \n or \x1b."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if is_unsafe(c) and c not in keep else c for c in text)


def escaped_json(document: str) -> str:
    r"""Return JSON documents, one per line, with unsafe characters replaced by \u escapes; the values stay the same.

    JSON itself allows DEL, C1 controls and all format characters inside a string.
    """
    if document.isprintable():
        return document
    return "".join(_json_escape(c) if is_unsafe(c) and c not in "\n\t" else c for c in document)


def log_lines(line: bytes, colours: bool) -> list[str]:
    """Return a log line as one or more printable lines. Colour sequences are kept only if `colours` is true.

    A progress bar overwrites itself with carriage returns: each of its states becomes a line.
    """
    text = line.rstrip(b"\r").decode(errors="replace")
    return [_log_line(part, colours) for part in text.split("\r")]


def is_unsafe(character: str) -> bool:
    """Return whether the character could control a terminal or mislead a reader."""
    return unicodedata.category(character) in UNSAFE_CATEGORIES


def _picture(character: str) -> str:
    return CONTROL_PICTURES.get(ord(character), REPLACEMENT)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def _log_line(text: str, colours: bool) -> str:
    if text.isprintable():
        return text
    if not colours:
        return printable(COLOUR.sub("", text), keep="\t")
    parts = COLOUR.split(text)  # every second part is a colour sequence
    text = "".join(part if n % 2 else printable(part, keep="\t") for n, part in enumerate(parts))
    return text + RESET if len(parts) > 1 else text
