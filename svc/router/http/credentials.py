"""Credentials of clients: finds the API keys in a request, and removes what may be a credential. Pure."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

CREDENTIAL_HEADERS = frozenset((b"authorization", b"x-api-key"))
# A header or query parameter whose name contains one of these (with - for _) may be a client's credential.
CREDENTIAL_NAMES = re.compile(
    rb"token|secret|password|credential|authorization|cookie|api-?key|access-?key|auth-?key|subscription-?key"
)
KEY_PROTOCOL = b"openai-insecure-api-key."  # a browser's WebSocket can send a key only as a subprotocol


def key_digests(authorization: bytes, x_api_key: bytes) -> tuple[bytes, ...]:
    """Return the SHA-256 of the API keys in these headers, Authorization first. A missing header is empty."""
    bearer = authorization[7:].strip() if authorization[:7].lower() == b"bearer " else b""
    return tuple(hashlib.sha256(secret).digest() for secret in (bearer, x_api_key) if secret)


def drop_credentials(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the headers, except those that may contain a client's credentials."""
    for name, value in headers:
        key = name.lower()
        if key == b"sec-websocket-protocol" and KEY_PROTOCOL in value.lower():
            protocols = [protocol.strip() for protocol in value.split(b",")]
            value = b", ".join(p for p in protocols if not p.lower().startswith(KEY_PROTOCOL))
            if not value:
                continue
        if not CREDENTIAL_NAMES.search(key.replace(b"_", b"-")):
            yield name, value


def drop_query_credentials(uri: bytes) -> bytes:
    """Return a URI without the query parameters that may be a client's credentials, such as Google's `key`."""
    path, mark, query = uri.partition(b"?")
    passed_on = [field for field in query.split(b"&") if not _is_credential_field(field)]
    return path + mark + b"&".join(passed_on) if passed_on else path


def _is_credential_field(field: bytes) -> bool:
    name = unquote_to_bytes(field.partition(b"=")[0].replace(b"+", b" ")).strip().lower().replace(b"_", b"-")
    return name == b"key" or bool(CREDENTIAL_NAMES.search(name))
