"""The request heads that all connections of a router share, and the rules for parsing them. Pure."""

from svc.router.http.credentials import CREDENTIAL_HEADERS
from svc.router.http.head_cache import MAX_CACHED_HEAD_BYTES, MAX_CACHED_HEADS, HeadCache
from svc.router.http.request import DEFAULT_RULES, DROPPED_HEADERS, HeadRules, RequestHead


class RequestHeadCache(HeadCache[RequestHead]):
    """The request heads that all connections of a router share, and the rules for parsing them.

    `keyed`: clients send API keys of the router, which are not passed on to instances.
    """

    def __init__(self, keyed: bool = False, rules: HeadRules = DEFAULT_RULES) -> None:
        super().__init__()
        self.rules = rules
        self.not_passed = DROPPED_HEADERS | CREDENTIAL_HEADERS if keyed else DROPPED_HEADERS
        self._by_content: dict[tuple[object, ...], RequestHead] = {}

    def make(
        self,
        method: bytes,
        uri: bytes,
        headers: list[tuple[bytes, bytes]],
        special: dict[bytes, bytes],
        http10: bool,
        keep_alive: bool,
    ) -> RequestHead:
        """Return the RequestHead with this content, from the cache if possible, because creating one costs more.

        This is for messages that do not arrive in one piece, for which `find` cannot be used.
        """
        content = special.copy()
        has_length = content.pop(b"content-length", None) is not None
        key = (method, uri, http10, keep_alive, has_length, *headers, *content.items())
        head = self._by_content.get(key)
        if head is None:
            head = RequestHead(method, uri, headers, special, http10, keep_alive, self.rules)
            is_likely_unique = head.id or head.traced  # these headers differ in each request
            if not (is_likely_unique or head.size > MAX_CACHED_HEAD_BYTES):
                if len(self._by_content) >= MAX_CACHED_HEADS:
                    self._by_content.clear()
                self._by_content[key] = head
        return head
