"""Models on demand in simulated time: the lower bound of loads, and what never happens in a trace."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "ops" / "bench"))
best_order = pytest.importorskip("demand.best_order")
simulation = pytest.importorskip("demand.simulation")
trace = pytest.importorskip("demand.trace")


def fewest(text: str, places: int, patience: float, load_seconds: float = 0.0) -> int:
    """Return the fewest loads for requests of one model a letter, one second apart; "." is a second without one."""
    requests = [(float(second), model) for second, model in enumerate(text) if model != "."]
    return best_order.fewest_loads(requests, places, patience, load_seconds)


@pytest.mark.parametrize(
    ("text", "places", "patience", "loads"),
    [
        ("abababab", 1, 0, 8),
        ("abababab", 1, 100, 2),  # all of a, then all of b
        ("abababab", 1, 2, 4),  # pairs are served together
        ("abababab", 2, 0, 2),
        ("abcabcabc", 2, 0, 6),  # what is needed last leaves
        ("a..........b..........a", 1, 5, 3),
        ("aaa", 1, 0, 1),
    ],
)
def test_the_fewest_loads(text, places, patience, loads):
    assert fewest(text, places, patience) == loads


def test_a_load_takes_its_time_from_the_patience():
    assert fewest("abababab", 1, 6, 6) == fewest("abababab", 1, 0)


def test_an_early_load_on_the_way_to_another_one_is_found():
    """Model b is loaded early, through the place that c needs anyway; later it would cost a its place."""
    assert fewest("a" + "." * 3 + "b" + "c" + "a" * 12, 2, 8) == 3


@pytest.mark.parametrize("text", ["abcabacabbacbacbbca", "aabbccaabbcc", "abcdabcdaabbccdd"])
def test_more_patience_and_more_places_never_cost_loads(text):
    by_patience = [fewest(text, 2, patience) for patience in range(12)]
    assert by_patience == sorted(by_patience, reverse=True)
    by_places = [fewest(text, places, 3) for places in range(1, 5)]
    assert by_places == sorted(by_places, reverse=True)
    requests = [(float(second), model) for second, model in enumerate(text)]
    assert by_patience[0] == best_order.in_order_of_arrival(requests, 2)


@pytest.fixture(scope="module")
def outcome():
    """Return what a short trace of six models, of which three fit, has led to."""
    requests = trace.generate(trace.TraceSettings(requests=500, turns=10))
    site = simulation.SiteSettings()
    return simulation.Simulation(site, sorted({r.model for r in requests})).run(requests, site.load_seconds, 3600)


def test_every_request_is_served_and_none_is_cut_off(outcome):
    assert sum(map(len, outcome.waits.values())) == 500
    assert (outcome.unserved, outcome.killed_requests) == (0, 0)


def test_no_start_finds_too_little_memory(outcome):
    assert outcome.out_of_memory == 0
    assert len(outcome.loads) >= 6


def test_waiting_is_bounded_and_the_kept_model_never_waits(outcome):
    assert max(outcome.waits[trace.KEPT]) == 0
    assert max(wait for waits in outcome.waits.values() for wait in waits) < 600
