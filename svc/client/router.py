"""The HTTP client of the router's endpoints that need no API key."""

import time
from typing import Any

import requests

from svc.base.errors import Unavailable
from svc.base.http import fetch
from svc.client import router_metrics
from svc.client.router_metrics import InstanceTraffic, RouterRequests, RouterScrape

HEALTH_PATH = "/health"
READY_PATH = "/readyz"
SERVICES_PATH = "/services"
METRICS_PATH = "/metrics"
TIMEOUT_SECONDS = 2.0
UNKNOWN_MODEL = ""  # stands for the models of an instance if the router does not show them
REASONS = {  # part of the error text of the `requests` library -> the reason to show to users
    "refused": "connection refused",
    "resolve": "its name has no address",
    "No route": "no route to its machine",
    "unreachable": "its network is unreachable",
    "CERTIFICATE": "its certificate is not accepted",
    "WRONG_VERSION": "it speaks no TLS",
    "RemoteDisconnected": "it closes the connection: does it speak TLS?",
}


class RouterClient:
    """Reads the state and the metrics of one router. `timeout` is the seconds to wait for an answer."""

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
        self.url = url
        self.timeout = timeout

    def services(self) -> list[dict[str, Any]] | None:
        """Return the instances with their models and states; None if the router does not answer.

        If the router requires an API key, the instances come from its metrics, which do not contain the models.
        """
        try:
            answer = self._get(SERVICES_PATH)
            if answer.status_code != requests.codes.unauthorized:
                return answer.json()["services"]
            marks = router_metrics.instance_marks(self._get(METRICS_PATH).text)
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return None
        return [
            {
                "name": name,
                "healthy": mark.is_up,
                "ejected": mark.is_ejected,
                "failing": mark.is_failing,
                "models": [UNKNOWN_MODEL],
            }
            for name, mark in marks.items()
        ]

    def instance_loads(self) -> dict[str, InstanceTraffic] | None:
        """Return the load of each instance; None if the router does not answer."""
        try:
            return router_metrics.instance_loads(self._get(METRICS_PATH).text)
        except (requests.RequestException, ValueError):
            return None

    def requests_in_flight(self) -> RouterRequests | None:
        """Return the requests in flight at each instance, and the progress of handovers.

        Return None if the router does not answer.
        """
        try:
            return router_metrics.router_requests(self._get(METRICS_PATH).text)
        except (requests.RequestException, ValueError):
            return None

    def unwritten_usage(self) -> int:
        """Return how many requests are missing in the usage file because the router cannot write it.

        Return 0 if the router's metrics cannot be read.
        """
        try:
            return router_metrics.unwritten_usage(self._get(METRICS_PATH).text)
        except (requests.RequestException, ValueError):
            return 0

    def scrape(self) -> RouterScrape:
        """Return the router's metrics; raise Unavailable with the reason if they cannot be read at this URL."""
        try:
            answer = self._get(METRICS_PATH)
            if answer.ok:
                return router_metrics.parse_metrics(answer.text, time.time())
        except requests.Timeout:
            raise Unavailable(f"the router does not answer in time at {self.url}") from None
        except requests.RequestException as error:
            raise unreachable(self.url, error) from None
        except ValueError:
            raise Unavailable(f"what answers at {self.url} is no router") from None
        if answer.status_code >= 500:
            raise Unavailable(f"the router at {self.url} answers {answer.status_code}")
        raise Unavailable(f"what answers at {self.url} is no router: it answers {answer.status_code} to {METRICS_PATH}")

    def _get(self, path: str) -> requests.Response:
        # The certificate is not verified: the request contains no secret, and the answer is not trusted.
        return fetch("GET", self.url + path, self.timeout, verify=False)


def unreachable(url: str, error: requests.RequestException) -> Unavailable:
    """Return the error for a router that a request did not reach."""
    reason = next((reason for part, reason in REASONS.items() if part in str(error)), type(error).__name__)
    return Unavailable(f"the router does not answer at {url}: {reason}")
