"""Health by the status of an answer."""

import pytest

from svc.client import probe


@pytest.mark.parametrize("status", [200, 204])
def test_a_2xx_is_healthy(status):
    assert probe.status_is_healthy(status, required=True)
    assert probe.status_is_healthy(status, required=False)


@pytest.mark.parametrize("status", [0, 500, 502, 503, 504])
def test_no_answer_and_a_5xx_are_not_healthy(status):
    assert not probe.status_is_healthy(status, required=True)
    assert not probe.status_is_healthy(status, required=False)


@pytest.mark.parametrize("status", [302, 401, 404, 405, 501])
def test_a_server_without_the_endpoint_is_healthy_unless_it_is_required(status):
    assert probe.status_is_healthy(status, required=False)
    assert not probe.status_is_healthy(status, required=True)
