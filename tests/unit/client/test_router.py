"""The requests of a router's client, against an HTTP server with the answers of a router."""

import json
from collections.abc import Iterator

import pytest

from svc.base.errors import Unavailable
from svc.client.router import UNKNOWN_MODEL, RouterClient
from svc.client.router_metrics import InstanceTraffic, RouterRequests
from tests.unit.client.page_server import PageServer

METRICS = """svc_router_instance_up{instance="a"} 1.0
svc_router_instance_ejected{instance="a"} 0.0
svc_router_requests_in_flight{instance="a"} 2.0
"""
SERVICES = [{"name": "a", "healthy": True, "models": ["m"]}]


class Router(PageServer):
    """A server with the pages of a router, and its client."""

    def __init__(self) -> None:
        super().__init__({"/services": (200, json.dumps({"services": SERVICES})), "/metrics": (200, METRICS)})
        self.client = RouterClient(self.url, timeout=10)


@pytest.fixture
def router() -> Iterator[Router]:
    server = Router()
    yield server
    server.close()


def test_services_and_loads_are_read(router: Router):
    assert router.client.services() == SERVICES
    assert router.client.instance_loads() == {"a": InstanceTraffic(True, 2)}
    assert router.client.requests_in_flight() == RouterRequests({"a": InstanceTraffic(True, 2)}, {})
    assert router.client.scrape().states == {"a": "up"}


def test_services_behind_api_keys_are_read_from_the_metrics(router: Router):
    router.pages["/services"] = (401, "{}")
    assert router.client.services() == [
        {"name": "a", "healthy": True, "ejected": False, "failing": False, "models": [UNKNOWN_MODEL]}
    ]


@pytest.mark.parametrize("body", ["", "[]", "{}", "<html>"])
def test_a_server_that_lists_no_services_is_no_router(router: Router, body: str):
    router.pages["/services"] = (200, body)
    assert router.client.services() is None


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ((200, "node_load1 0.5\n"), "what answers at http://127.0.0.1:[0-9]+ is no router"),
        ((404, ""), "is no router: it answers 404 to /metrics"),
        ((502, ""), "the router at http://127.0.0.1:[0-9]+ answers 502"),
    ],
)
def test_a_scrape_says_what_is_wrong_with_the_answer(router: Router, page: tuple[int, str], problem: str):
    router.pages["/metrics"] = page
    with pytest.raises(Unavailable, match=problem):
        router.client.scrape()


def test_a_router_that_is_away_has_no_services_and_no_loads(router: Router):
    router.close()
    assert router.client.services() is None
    assert router.client.instance_loads() is None
    with pytest.raises(Unavailable, match="the router does not answer at .*: connection refused"):
        router.client.scrape()
