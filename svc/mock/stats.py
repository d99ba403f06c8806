"""What reached the mock, and how it ended."""

from svc.mock.exchange import Request

PROBES = {"/health", "/models", "/v1/models", "/metrics"}


class Stats:
    """Counts every request but those to /mock/.

    `requests` and `last_headers` leave the probes out (GET of health, models
    and metrics), which come at their own times; `by_path` has them.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.open_requests = 0
        self.working = 0  # of those, the ones that are no probes
        self.open_streams = 0
        self.tokens = 0
        self.finished = 0
        self.cut_by_client = 0
        self.cut_by_mock = 0
        self.by_path: dict[str, int] = {}
        self.last_headers: dict[str, str] = {}

    def begin(self, request: Request) -> None:
        self.open_requests += 1
        self.by_path[request.path] = self.by_path.get(request.path, 0) + 1
        if request.path not in PROBES:
            self.working += 1
            self.requests += 1
            self.last_headers = request.headers

    def end(self, request: Request) -> None:
        self.open_requests -= 1
        self.working -= request.path not in PROBES

    def made(self, tokens: int) -> None:
        self.tokens += tokens

    def exposition(self) -> bytes:
        """What Prometheus reads, with the names that engines use."""
        return b"mock:generation_tokens_total %d\nmock:num_requests_running %d\n" % (self.tokens, self.working)
