"""Requests in flight, and idle time, from what engines and the router report."""

import gevent
import pytest

from svc.babysitter.engine_load import EngineLoadReader, MetricsPage
from svc.babysitter.on_demand.activity import Activity


class Site:
    """`pages` are the answers by the end of the URL."""

    def __init__(self, router_url="") -> None:
        self.now, self.pages, self.probes = 0.0, {}, (0, False)
        page = MetricsPage(["http://engine"], self.get, lambda: self.now)
        self.activity = Activity(
            EngineLoadReader(page, router_url, "qwen-server", self.get), lambda: self.probes, lambda: self.now
        )

    def get(self, url, timeout):
        return self.pages.get(url.removeprefix("http://"), "")

    def read(self, seconds=1.0):
        self.now += seconds
        return self.activity.read(), self.activity.idle_seconds


@pytest.fixture
def site():
    return Site()


def vllm(tokens, running, waiting=0):
    return (
        f"vllm:generation_tokens_total {tokens}\nvllm:num_requests_running {running}\n"
        f"vllm:num_requests_waiting {waiting}\n"
    )


def test_requests_that_run_or_wait_in_the_engine_are_in_flight(site):
    site.pages["engine/metrics"] = vllm(1, 2, 3)
    assert site.read() == (5, 0.0)


def test_an_engine_without_requests_is_idle_since_its_last_token(site):
    site.pages["engine/metrics"] = vllm(1, 0)
    assert [site.read() for _ in range(2)] == [(0, 1.0), (0, 2.0)]
    site.pages["engine/metrics"] = vllm(9, 0)  # a request that began and ended between two readings
    assert site.read() == (0, 0.0)
    assert site.read() == (0, 1.0)


def test_the_babysitter_s_own_probes_do_not_end_the_idle_time(site):
    site.pages["engine/metrics"] = vllm(1, 0)
    site.read()
    site.pages["engine/metrics"], site.probes = vllm(1, 1), (1, True)
    assert site.read() == (0, 2.0)
    site.pages["engine/metrics"], site.probes = vllm(2, 0), (2, False)  # ended, and another one in between
    assert site.read() == (0, 3.0)
    site.pages["engine/metrics"] = vllm(3, 0)
    assert site.read() == (0, 0.0)


def test_requests_beside_a_probe_count(site):
    site.pages["engine/metrics"], site.probes = vllm(1, 3), (1, True)
    assert site.read() == (2, 0.0)


def test_text_generation_inference_has_no_counter_of_tokens(site):
    site.pages["engine/metrics"] = "tgi_batch_current_size 1\ntgi_queue_size 2\n"
    assert site.read() == (3, 0.0)
    site.pages["engine/metrics"] = "tgi_batch_current_size 0\ntgi_queue_size 0\n"
    assert site.read() == (0, 1.0)


def test_slots_of_llama_cpp_are_counted(site):
    site.pages["engine/slots"] = '[{"id": 0, "is_processing": true}, {"id": 1, "is_processing": false}]'
    assert site.read() == (1, 0.0)


def test_without_any_source_nothing_is_known_and_nothing_is_idle(site):
    assert [site.read() for _ in range(3)] == [(None, 0.0)] * 3


def test_another_process_begins_without_idle_time(site):
    site.pages["engine/metrics"] = vllm(1, 0)
    site.read(100)
    site.activity.restart()
    assert site.activity.idle_seconds == 0
    assert site.activity.in_flight is None


def test_an_engine_that_answers_too_late_is_not_waited_for(site, monkeypatch):
    monkeypatch.setattr("svc.babysitter.on_demand.activity.READ_TIMEOUT_SECONDS", 0.05)
    site.activity._reader.page.get = lambda url, timeout: gevent.sleep(5)
    assert site.read() == (None, 0.0)


def test_the_router_is_not_asked_at_each_round_unless_the_instance_drains():
    site, requests = Site("http://router"), []
    get = site.activity._reader.get_router
    site.activity._reader.get_router = lambda url, timeout: requests.append(url) or get(url, timeout)
    for _ in range(10):
        site.now += 0.1
        site.activity.read(0.4)
    assert len(requests) == 1
    for _ in range(10):
        site.now += 0.1
        site.activity.read()
    assert len(requests) == 11
