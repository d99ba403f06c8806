"""Remove secrets from a text; they are recognised by names (`--api-key`) and formats (a URL's password). Pure."""

import re
from collections.abc import Callable

MASK = "***"
CHANGED_MASK = "*** (another value)"
SECRET_PARTS = {
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "credentials",
    "auth",
    "cookie",
    "pass",
    "pat",
    "dsn",
}
SECRET_ENDINGS = ("key", "token", "secret", "password", "passwd", "pwd")
# A variable whose name ends with one of these words (API_KEY_FILE, TOKEN_LIMIT) contains no secret.
NOT_SECRET = {"file", "path", "dir", "delay", "timeout", "limit", "count", "length"}
# The length of the name is limited, because the search would otherwise take quadratic time in a long word.
NAMED_VALUE = re.compile(
    r"""--?(?P<flag>[A-Za-z][\w.-]{0,99})[ \t]+(?!-)"""  # --api-key VALUE
    r"""|(?<!\w)(?P<name>\w[\w.-]{0,99})["']?\s*[=:]\s*"""  # NAME=VALUE, and "name": VALUE in JSON
)
VALUE = re.compile(
    r"""(?:"[^"]*"|'[^']*')(?:"[^"]*"|'[^']*'|[^\s,])*"""  # a quoted list element, as in environment=
    r"""|(?:"[^"]*"|'[^']*'|\S)+"""  # a word in a shell command
)
BEARER = re.compile(r"(?i)\b(bearer\s+)(\S+)")
BASIC = re.compile(r"(?i)\b(basic\s+)([a-z0-9+/]\S*)")
# A password may contain an unescaped @ or slash, and a token may appear without a user.
IN_URL = re.compile(r"""(\b\w{1,20}://(?:[^/\s:@"']{0,200}:)?)([^\s"']{1,1000})(?=@)""")
ENVIRONMENT = re.compile(r"^environment=.*(?:\n[ \t].*)*", re.MULTILINE)  # as in the section of a supervisord program
VARIABLE = re.compile(r"""(\w+=)("[^"]*"|'[^']*'|[^,\s]*)""")
PUBLIC_VARIABLE = re.compile(r"(?:SVC_(?!ENV_)\w+|CUDA_VISIBLE_DEVICES)=")
Label = Callable[[str], str]  # secret -> the text that replaces it


def is_secret(name: str) -> bool:
    """Return whether a variable or a flag of this name holds a secret."""
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    if not parts or parts[-1] in NOT_SECRET:
        return False
    return bool(SECRET_PARTS & set(parts)) or parts[-1].endswith(SECRET_ENDINGS)


def without_secrets(text: str, label: Label = lambda secret: MASK) -> str:
    """Return the text with each secret replaced by the result of `label`.

    Secrets are bearer tokens, passwords in URLs, and the values that follow the name of a secret, such as `--api-key`.
    In supervisord's `environment=` lines, every value counts as a secret, except those of svc's own variables.
    """
    masked, end = "", 0
    for line in ENVIRONMENT.finditer(text):
        masked += _without_formats_and_names(text[end : line.start()], label) + _without_variables(line[0], label)
        end = line.end()
    return masked + _without_formats_and_names(text[end:], label)


def _without_variables(line: str, label: Label) -> str:
    name = "environment="
    return name + VARIABLE.sub(
        lambda match: match[0] if PUBLIC_VARIABLE.match(match[1]) else match[1] + label(match[2]), line[len(name) :]
    )


def _without_formats_and_names(text: str, label: Label) -> str:
    for pattern in (IN_URL, BEARER, BASIC):
        text = pattern.sub(lambda match: match[1] + label(match[2]), text)
    return _without_named(text, label)


def secret_names(text: str) -> list[str]:
    """Return the names and flags in the text whose values are secrets."""
    return [
        match["flag"] or match["name"]
        for match in NAMED_VALUE.finditer(text)
        if is_secret(match["flag"] or match["name"]) and VALUE.match(text, match.end())
    ]


def both_without_secrets(old: str, new: str) -> tuple[str, str]:
    """Return two versions of a text without their secrets; CHANGED_MASK replaces secrets that only `new` contains."""
    known: set[str] = set()

    def remember(secret: str) -> str:
        known.add(secret)
        return MASK

    masked = without_secrets(old, remember)
    return masked, without_secrets(new, lambda secret: MASK if secret in known else CHANGED_MASK)


def _without_named(text: str, label: Label) -> str:
    masked, end = "", 0
    for match in NAMED_VALUE.finditer(text):
        name = match["flag"] or match["name"]
        if match.start() >= end and is_secret(name) and (value := VALUE.match(text, match.end())):
            masked, end = masked + text[end : match.end()] + label(value[0]), value.end()
    return masked + text[end:]
