"""Regular expressions that the texts of settings must match. Pure."""

Pattern = tuple[str, str]  # a regular expression that a text must match, and its description for error messages
SIZE: Pattern = (r"[1-9][0-9]*(KB|MB|GB)", "a size such as 50MB (KB, MB or GB)")
ACCOUNT: Pattern = (r"[a-z_][a-z0-9_-]{0,30}", "the name of a user or a group, such as infinilm")
CREDENTIAL_NAME: Pattern = (  # for the name of an API key, or of a registry's token
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
    "a letter or digit, then up to 63 letters, digits, and _ . -",
)
# A path that every engine interprets in the same way: it has no empty or dot segments, no parameters (`;`), and no
# escapes of . / \ % or control characters.
CANONICAL_PATH = (
    r"(?:/(?!\.{1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%(?!2[5EeFf]|5[Cc]|[01]|7[Ff])[0-9A-Fa-f]{2})+)*/?"
)
PATH: Pattern = (
    rf"\*|([A-Z-]+ )?(?=/)(?!.*,){CANONICAL_PATH}",
    "a path such as /v1/files*, where * is any text, or GET /docs for one method; without empty or dot segments, ; and "
    "escapes of . / \\ %",
)
HOST: Pattern = (
    r"\*|[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?",
    "a host without a port, or * for any",
)
ORIGIN: Pattern = (
    r"\*|null|file://|[A-Za-z][A-Za-z0-9+.-]*://[^/\s?#@,]+",
    "an origin such as https://chat.example.org, without a slash at its end, or * for any",
)
HEADER: Pattern = (r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "the name of a header, such as X-Chat-ID")
DIRECTORY: Pattern = (
    r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._+-]+)+",
    "an absolute path of letters, digits and . _ + -",
)
