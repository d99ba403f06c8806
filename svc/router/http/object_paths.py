"""Requests about objects that one instance keeps: which object a request names, and whether it makes one. Pure.

vLLM and SGLang keep responses, SGLang and vLLM-Omni videos. Servers that the router relays to with `allow_paths` also
keep files, batches and conversations.
"""

import re
from typing import NamedTuple

import msgspec

from svc.base.errors import BadRequest
from svc.router.http.json_body import ABSENT, LARGE_JSON_BYTES, strict_json, utf8
from svc.router.http.json_strings import empty_long_strings

COLLECTIONS = ("responses", "conversations", "files", "batches", "videos")
PATH = re.compile(rb"(?:/v1)?/(%b)(?:/([^/]+)(/.*)?)?" % "|".join(COLLECTIONS).encode())
MAX_ID_CHARS = 256

# _MEMBER matches a member of a JSON object whose value is neither an object nor an array.
# _OBJECT matches the beginning of an object up to its `id`, which every engine writes first or after such members.
# In the events of a stream, the object is the value of the first member `response`.
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_MEMBER = rb"\s*%b\s*:\s*(?:%b|[^\s\"\[\]{},:]+)\s*," % (_TEXT, _TEXT)
_OBJECT = rb'\s*\{(?:%b)*?\s*"id"\s*:\s*"([^"\\]{1,%d})"' % (_MEMBER, MAX_ID_CHARS)
BODY_ID = re.compile(_OBJECT)
EVENT_ID = re.compile(rb'"response"\s*:' + _OBJECT)
FILE_ID = re.compile(rb'"(?:output|error)_file_id"\s*:\s*"([^"\\]{1,%d})"' % MAX_ID_CHARS)
MAX_READ_BYTES = 16 << 10  # length of the part of an answer in which ids are searched


class ObjectPath(NamedTuple):
    """A request's method, and what its path names: a collection (no `object_id`), an object, or what is below one."""

    method: bytes
    object_id: str = ""
    is_below: bool = False
    is_batch: bool = False  # the answer names the files that the batch has made

    @property
    def creates(self) -> bool:
        return self.method == b"POST" and not self.object_id

    @property
    def deletes(self) -> bool:
        return self.method == b"DELETE" and bool(self.object_id) and not self.is_below

    @property
    def reads(self) -> bool:
        return self.method == b"GET" and bool(self.object_id)


class ObjectFields(NamedTuple):
    """The fields of a body that concern objects. `keeps`: the instance may keep what the request makes."""

    object_ids: tuple[str, ...] = ()
    keeps: bool = True


class _ObjectFields(msgspec.Struct, gc=False):
    """The fields as undecoded JSON (Raw), because decoded values may take 20 times the memory of their JSON."""

    previous_response_id: msgspec.Raw = ABSENT
    conversation: msgspec.Raw = ABSENT
    input_file_id: msgspec.Raw = ABSENT
    store: msgspec.Raw = ABSENT
    background: msgspec.Raw = ABSENT


class _Conversation(msgspec.Struct, gc=False):
    id: msgspec.Raw = ABSENT


_decode = msgspec.json.Decoder(_ObjectFields).decode
_decode_conversation = msgspec.json.Decoder(_Conversation).decode
_decode_text = msgspec.json.Decoder(str).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRequest)


def parse_path(method: bytes, uri: bytes) -> ObjectPath | None:
    """Return the object's path; None for all other paths."""
    match = PATH.fullmatch(uri.partition(b"?")[0])
    if match is None:
        return None
    is_batch = match[1] == b"batches" and match[2] is not None
    return ObjectPath(method, (match[2] or b"").decode("latin-1"), match[3] is not None, is_batch)


def read_object_fields(body: bytes) -> ObjectFields:
    """Return the ids of the objects that a body names; none if the body is not a JSON object."""
    try:
        return _read_fields(empty_long_strings(body)[0] if len(body) >= LARGE_JSON_BYTES else body)
    except _UNREADABLE:
        pass
    try:
        return _read_fields(strict_json(utf8(body)))  # engines read it with Python's `json`
    except _UNREADABLE:
        return ObjectFields()


def _read_fields(text: bytes) -> ObjectFields:
    fields = _decode(text)
    conversation = fields.conversation
    if memoryview(conversation)[:1] == b"{":
        conversation = _decode_conversation(conversation).id
    named = (fields.previous_response_id, conversation, fields.input_file_id)
    keeps = memoryview(fields.store) != b"false" or memoryview(fields.background) == b"true"
    return ObjectFields(tuple(filter(None, map(_text, named))), keeps)


def _text(raw: msgspec.Raw) -> str:
    """Return the text of a JSON string; empty for any other JSON."""
    return _decode_text(raw) if memoryview(raw)[:1] == b'"' else ""


def created_id(data: bytes, events: bool) -> str:
    """Return the id in the beginning of an answer; empty if it is not there. `events`: it is an event stream."""
    match = EVENT_ID.search(data) if events else BODY_ID.match(data)
    return match[1].decode("utf-8", "replace") if match else ""


def file_ids(data: bytes) -> list[str]:
    """Return the ids of the files that a batch has made."""
    return [object_id.decode("utf-8", "replace") for object_id in FILE_ID.findall(data)]
