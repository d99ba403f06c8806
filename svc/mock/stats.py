"""What reached the mock, and how it ended."""

from svc.mock.exchange import Request

PROBES = {"/health", "/models", "/v1/models"}


class Stats:
    """Counts every request but those to /mock/.

    `requests` and `last_headers` leave the probes (GET of health and models) out,
    which come at their own times; `by_path` has them.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.open_requests = 0
        self.open_streams = 0
        self.finished = 0
        self.cut_by_client = 0
        self.cut_by_mock = 0
        self.by_path: dict[str, int] = {}
        self.last_headers: dict[str, str] = {}

    def begin(self, request: Request) -> None:
        self.open_requests += 1
        self.by_path[request.path] = self.by_path.get(request.path, 0) + 1
        if request.path not in PROBES:
            self.requests += 1
            self.last_headers = request.headers
