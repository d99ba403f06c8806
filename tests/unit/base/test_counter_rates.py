"""Rates of counters, and their history."""

from svc.base import counter_rates
from svc.base.counter_rates import (
    MAX_POINTS,
    WINDOW_SECONDS,
    Counts,
    RateHistory,
    Rates,
    RateWindow,
    RecentCounts,
    Sample,
)


def window(*samples: tuple[float, Counts]) -> RateWindow:
    """Return a window with these counters of the model m."""
    rate_window = RateWindow(samples[0][0])
    for time, counts in samples[1:]:
        rate_window.add(Sample(time, {"m": counts}, {}))
    return rate_window


def test_a_rate_is_the_increase_within_the_window():
    rate_window = window(*[(float(second), Counts(requests=10 * second)) for second in range(20)])
    assert rate_window.model("m").requests == 10.0
    rate_window.add(Sample(20.0, {"m": Counts(requests=240)}, {}))
    assert rate_window.model("m").requests == (240 - 150) / WINDOW_SECONDS


def test_the_time_to_first_token_is_the_mean_of_the_window():
    later = Counts(6, 1, 19, 9.0, 6)
    rate_window = window((0, Counts()), (1, Counts(4, 0, 9, 8.0, 4)), (3, later), (6, later))
    assert rate_window.model("m") == Rates(0.4, 0.2, 2.0, 0.5)
    assert window((0, Counts(4)), (2, Counts(6))).model("m").first_token is None


def test_counters_of_a_new_or_restarted_instance_start_at_zero():
    assert window((0, Counts())).model("m") == Rates()
    assert window((0, Counts()), (1, Counts(9)), (2, Counts(0)), (7, Counts(2))).model("m").requests == 0.4
    assert window((0, Counts()), (1, Counts(2))).model("other") == Rates()


def test_the_history_is_bounded_and_forgets_models_that_left():
    history = RateHistory()
    for second in range(MAX_POINTS + 7):
        history.add({"m": Rates(requests=second)})
    history.add({"m": Rates(), "new": Rates(requests=3.0)})
    columns = history.columns()
    assert {len(columns[name][series]) for name in columns for series in counter_rates.SERIES} == {MAX_POINTS}
    assert columns["new"]["requests"][-2:] == [0.0, 3.0]
    history.add({"new": Rates()})
    assert list(history.columns()) == ["new"]


def test_counters_are_recent_within_the_points_of_the_history():
    recent = RecentCounts()
    assert recent.increase("m", {"503": 2}) == {"503": 2}, "of a router that has just started, all counts are recent"
    recent.add({"m": {"503": 2}})
    for _ in range(MAX_POINTS - 1):
        recent.add({"m": {"503": 2, "cut": 1}})
    assert recent.increase("m", {"503": 2, "cut": 1}) == {"503": 2, "cut": 1}
    recent.add({"m": {"503": 2, "cut": 1}})
    assert recent.increase("m", {"503": 2, "cut": 1}) == {"cut": 1}
    recent.add({"m": {"503": 2, "cut": 1}})
    assert recent.increase("m", {"503": 3, "cut": 1}) == {"503": 1}
