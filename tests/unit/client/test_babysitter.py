"""A babysitter's report is read, or there is none."""

from collections.abc import Iterator

import pytest

from svc.client.babysitter import read_info
from tests.unit.client.page_server import PageServer


@pytest.fixture
def server() -> Iterator[PageServer]:
    started = PageServer({"/info": (200, '{"name": "qwen"}')})
    yield started
    started.close()


def test_the_report_is_read(server):
    assert read_info(server.url, 10) == {"name": "qwen"}


@pytest.mark.parametrize("body", ["", "[]", "<html>", '"qwen"'])
def test_another_answer_is_no_report(server, body):
    server.pages["/info"] = (200, body)
    assert read_info(server.url, 10) is None


def test_a_babysitter_that_is_away_has_no_report(server):
    server.close()
    assert read_info(server.url, 10) is None
