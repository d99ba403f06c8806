"""The router's counts as Prometheus reads them, worked out when it asks: a request pays nothing for them."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from svc.router.state import State


class Metrics(Collector):
    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        state = self._state
        label = ["instance"]
        requests = CounterMetricFamily("svc_router_requests", "Attempts that ended, by instance.", labels=label)
        errors = CounterMetricFamily("svc_router_errors", "Attempts that failed, by instance.", labels=label)
        seconds = CounterMetricFamily("svc_router_request_seconds", "Time spent in attempts.", labels=label)
        flight = GaugeMetricFamily("svc_router_requests_in_flight", "Requests being served.", labels=label)
        up = GaugeMetricFamily("svc_router_instance_up", "1 while the instance gets requests.", labels=label)
        for target in state.table.targets:
            tally = state.tallies.get(target.name)
            requests.add_metric([target.name], tally.requests if tally else 0)
            errors.add_metric([target.name], tally.errors if tally else 0)
            seconds.add_metric([target.name], tally.seconds if tally else 0)
            flight.add_metric([target.name], state.loads.get(target.name, 0))
            up.add_metric([target.name], int(target.name in state.table.candidates))
        yield from (requests, errors, seconds, flight, up)
        yield CounterMetricFamily("svc_router_retries", "Attempts after the first of a request.", state.retries)
