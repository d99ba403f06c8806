"""Cuts the conversation in a request into blocks, whose hashes identify the prefixes that conversations share. Pure.

A conversation is the JSON of the tools, of the system prompt, and of the messages, in this order: engines' chat
templates put tools and system prompt before the messages, and both are equal in all conversations of one agent. It is
cut as bytes, without being parsed, so that the cost depends on the number of blocks. Each hash covers its block and all
blocks before it: equal hashes mean equal prefixes.

Only whole blocks have a hash, because the next turn of the conversation appends to its last bytes. For the same reason,
the bracket that ends the messages is left out.

Blocks have 512 bytes in the first 4 KB of a conversation. After that, the size of a block is a quarter of the largest
power of two that its position in bytes reaches: 1 KB from 4 KB on, 2 KB from 8 KB on. So a conversation of 1 MB has 40
blocks instead of 2,048. Of a common prefix, at most a fifth is not recognized, or 512 bytes (about 128 tokens) if that
is more.
"""

from bisect import bisect_right

import msgspec
from xxhash import xxh3_64_intdigest

from svc.router.balance.routing_request import RoutingRequest
from svc.router.http.json_body import ABSENT, Fields, reread_body

FIRST_BLOCK_BYTES = 512
BLOCKS_PER_DOUBLING = 4
MAX_CONVERSATION_BYTES = 1 << 30


def _block_slices() -> tuple[slice, ...]:
    slices, start, size = list[slice](), 0, FIRST_BLOCK_BYTES
    while start < MAX_CONVERSATION_BYTES:
        slices.append(slice(start, start + size))
        start += size
        if start == 2 * BLOCKS_PER_DOUBLING * size:
            size *= 2
    return tuple(slices)


BLOCKS = _block_slices()
BLOCK_ENDS = tuple(block.stop for block in BLOCKS)


def block_hashes(conversation: memoryview, seed: int = 0) -> list[int]:
    """Return the hash of each prefix of the conversation that consists of whole blocks, the shortest prefix first.

    Another seed changes all hashes.
    """
    if conversation.nbytes < FIRST_BLOCK_BYTES:
        return []
    blocks, digest, chained = BLOCKS[: bisect_right(BLOCK_ENDS, conversation.nbytes)], xxh3_64_intdigest, seed
    return [chained := digest(conversation[block], chained) for block in blocks]


def affinity_hash(conversation: memoryview, hashes: list[int], seed: int) -> int:
    """Return the hash by which rendezvous hashing chooses an instance if none was sent a prefix of the conversation.

    It is the hash of the first block, or of the whole conversation if that is shorter.
    """
    return hashes[0] if hashes else xxh3_64_intdigest(conversation, seed)


def prefix_bytes(blocks: int) -> int:
    """Return the size of a prefix of this many blocks."""
    return BLOCK_ENDS[blocks - 1] if blocks else 0


def conversation_of(request: RoutingRequest) -> memoryview:
    """Return the conversation in a request; empty if there is none."""
    body, json = request.body, request.json
    messages = ABSENT if json is None else _messages(json.fields)
    if json is None or messages is ABSENT:  # the body was rewritten, only `json` can read it, or it has no conversation
        json = reread_body(body)
        messages = _messages(json.fields)
        if messages is ABSENT:
            return memoryview(b"")
    end = json.original(messages, body)[:-1]  # cuts off the bracket or quote at the end
    fields = json.fields
    if fields.tools is ABSENT and fields.system is ABSENT and fields.instructions is ABSENT:
        return end
    parts = (field for field in (fields.tools, fields.system, fields.instructions) if field is not ABSENT)
    return memoryview(b"".join((*(json.original(part, body) for part in parts), end)))


def is_of_responses_api(request: RoutingRequest) -> bool:
    """Return whether the request is one of the Responses API: it has an `input`, and neither messages nor a prompt."""
    fields = (request.json or reread_body(request.body)).fields  # request.json is None if the body was rewritten
    return fields.input is not ABSENT and fields.messages is ABSENT and fields.prompt is ABSENT


def _messages(fields: Fields) -> msgspec.Raw:
    """Return the messages, or else the prompt, or else the `input` of the Responses API; ABSENT if there is none.

    An input that is a text or a list of texts is no conversation: requests for embeddings have such an input.
    """
    if fields.messages is not ABSENT:
        return fields.messages
    if fields.prompt is not ABSENT:
        return fields.prompt
    start = bytes(memoryview(fields.input)[:64])
    return fields.input if start[:1] == b"[" and start[1:].lstrip()[:1] == b"{" else ABSENT
