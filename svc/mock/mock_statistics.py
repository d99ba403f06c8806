"""Statistics of the requests that reached the mock and how they ended."""

from svc.mock.request_reply import MockRequest
from svc.protocol.continuation import PROBE_USER_AGENT

PROBE_PATHS = {"/health", "/models", "/v1/models", "/metrics", "/sleep", "/wake_up", "/is_sleeping"}

METRICS = (
    b"mock:generation_tokens_total %d\nmock:num_requests_running %d\n"
    b"mock:num_requests_waiting 0\nmock:kv_cache_usage_perc 0.0\n"
)


def is_probe(request: MockRequest) -> bool:
    """Return whether the request is a babysitter's: a continuation probe, or for health, models, metrics or sleep."""
    return request.path in PROBE_PATHS or request.headers.get("user-agent") == PROBE_USER_AGENT


class MockStatistics:
    """Counts all requests except those to /mock/.

    The attributes are the fields of /mock/stats. Probes arrive at any time, so `requests`, `tokens` and `last_headers`
    ignore them; `by_path` includes them.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.open_requests = 0
        self.working = 0  # open requests that are not probes
        self.open_streams = 0
        self.tokens = 0
        self.finished = 0
        self.cut_by_client = 0
        self.cut_by_mock = 0
        self.by_path: dict[str, int] = {}
        self.last_headers: dict[str, str] = {}

    def begin(self, request: MockRequest) -> None:
        self.open_requests += 1
        self.by_path[request.path] = self.by_path.get(request.path, 0) + 1
        if not is_probe(request):
            self.working += 1
            self.requests += 1
            self.last_headers = request.headers

    def end(self, request: MockRequest) -> None:
        self.open_requests -= 1
        self.working -= not is_probe(request)

    def count_tokens(self, tokens: int) -> None:
        self.tokens += tokens

    def exposition(self) -> bytes:
        """Return the text of /metrics, with the metric names of real engines."""
        return METRICS % (self.tokens, self.working)
