"""What `svc usage` reports if an address does not return the sums of a router."""

from collections.abc import Iterator

import pytest

from svc.base.errors import NotFound
from svc.client.router_usage import fetch_usage
from tests.unit.client.page_server import PageServer

PAGE = "/usage?since=0&until=1&by=key"


@pytest.fixture
def server() -> Iterator[PageServer]:
    made = PageServer({})
    yield made
    made.close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error": {"message": "The requested URL was not found"}}', "is no router, or is older than this command"),
        ('{"error": {"message": "name a file with usage_file"}}', "name a file with usage_file"),
        ("<html>", "is no router, or is older than this command"),
    ],
)
def test_another_program_and_a_router_without_a_ledger_differ(server: PageServer, body: str, reason: str):
    server.pages[PAGE] = (404, body)
    with pytest.raises(NotFound, match=reason):
        fetch_usage(server.url, 0, 1, ("key",))
