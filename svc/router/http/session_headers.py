"""The headers by which clients name the session of a request: a conversation, or an agent's run. Pure.

A request's session is the first of these that it has:

1. `prompt_cache_key` of the body, which Codex sends with each request;
2. `X-Session-ID`, the router's own; OpenCode sends it to every provider but its own since 2026
   (github.com/anomalyco/opencode, packages/opencode/src/session/llm/request.ts);
3. `X-Claude-Code-Session-Id`, which Claude Code sends so that gateways can tell sessions apart
   (code.claude.com/docs/en/llm-gateway-protocol);
4. `metadata.user_id` of an Anthropic body; Claude Code's contains its session;
5. Codex: `session-id`, in older versions `session_id` and `conversation_id`
   (github.com/openai/codex, codex-rs/codex-api/src/requests/headers.rs);
6. OpenCode: `x-session-affinity`, and `x-opencode-session` to OpenCode's own providers (the file named above);
7. Open WebUI: `X-OpenWebUI-Chat-Id`, if ENABLE_FORWARD_USER_INFO_HEADERS is set
   (github.com/open-webui/open-webui, backend/open_webui/env.py and routers/openai.py);
8. LiteLLM: `x-litellm-session-id`, by which its clients name a session; its proxy passes it on if
   forward_client_headers_to_llm_api is set (github.com/BerriAI/litellm, litellm/proxy/litellm_pre_call_utils.py);
9. the headers of the setting `session_headers`;
10. the first address of `X-Forwarded-For`, with `User-Agent`.

OpenAI's `user` is not among them, because all requests of an application can have the same one.
"""

from collections.abc import Iterable, Mapping

HEADERS_BEFORE_USER_ID = (b"x-session-id", b"x-claude-code-session-id")
HEADERS_AFTER_USER_ID = (
    b"session-id",
    b"session_id",
    b"conversation_id",
    b"x-session-affinity",
    b"x-opencode-session",
    b"x-openwebui-chat-id",
    b"x-litellm-session-id",
)

Ranks = Mapping[bytes, int]  # name of a header in lower case -> its rank; the lowest rank in a request counts


def ranks(configured: Iterable[str] = ()) -> Ranks:
    """Return the rank of each header that names a session. `configured`: the setting `session_headers`."""
    names = (*HEADERS_BEFORE_USER_ID, *HEADERS_AFTER_USER_ID, *(name.lower().encode() for name in configured))
    return {name: rank for rank, name in reversed(list(enumerate(names)))}  # a repeated name gets its first rank


def precedes_user_id(rank: int) -> bool:
    """Return whether a header of this rank counts although the body has `metadata.user_id`."""
    return rank < len(HEADERS_BEFORE_USER_ID)


def address_session(forwarded: bytes, agent: bytes) -> bytes:
    """Return the session of a client that names none, from X-Forwarded-For and User-Agent; empty without an address.

    Only the first address counts: the others are those of proxies, which can differ from request to request.
    """
    address = forwarded.partition(b",")[0].strip()
    return b"%b\n%b" % (address, agent) if address else b""
