"""Fair shares of waiting requests: the counters of accounts, and the order that follows from them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.account import Account
from svc.router.balance.fair_order import (
    AGING_SECONDS,
    BASE,
    MAX_COUNTERS,
    UNITS_PER_TOKEN,
    Charge,
    FairOrder,
    Rank,
    in_order,
    precedes,
)
from svc.router.balance.request_queue import LAST, RequestQueue, Waiter


class Router:
    """A queue in front of instances with so many places; every request for the model "m" takes one of them."""

    def __init__(self, places: int, size: int = 10_000) -> None:
        self.queue = RequestQueue(size)
        self.order = self.queue.order
        self.places = places
        self.waiting: list[Waiter] = []
        self.running: list[Charge] = []
        self.served: list[str] = []
        self.now = 0.0

    def arrives(self, account: Account, expected: int = 100) -> Charge:
        charge = self.queue.new_charge(account, "m", self.now, 100)
        if self.places > len(self.running) and not self.queue.must_wait("m", charge):
            self.queue.begin(charge, expected if self.queue.waiting else 0)
            self._run(charge)
        else:
            charge.expected = expected
            self.waiting.append(self.queue.join("m", 1e9, 1, charge=charge))
        return charge

    def _run(self, charge: Charge) -> None:
        self.running.append(charge)
        self.served.append(charge.key[2])

    def next_turn(self) -> Charge | None:
        """Serve the request whose turn it is, if there is a place for it."""
        if not self.waiting or self.places <= len(self.running):
            return None
        self.order.flush()
        turn = self.queue._lines["m"].first()  # noqa: SLF001 - to ask each waiter takes a long test too long
        assert self.queue.is_first("m", turn)
        self.waiting.remove(turn)
        self.queue.serve("m", turn)
        assert turn.charge is not None
        self._run(turn.charge)
        return turn.charge

    def ends(self, charge: Charge, tokens: int) -> None:
        self.order.end(charge, tokens)
        self.running.remove(charge)

    def cancels(self, waiter: Waiter) -> None:
        self.waiting.remove(waiter)
        self.queue.leave("m", waiter)

    def sweeps(self, now: float) -> None:
        self.now = now
        self.queue.sweep(now)

    def tokens(self, account: Account) -> float:
        """Return the tokens by which the account's counter has risen above that of a new account's start at zero."""
        self.order.flush()
        return self.order.counters.value(("", account.priority, account.name)) / UNITS_PER_TOKEN * account.share


A, B, C = Account("a"), Account("b"), Account("c")


def test_a_request_passes_the_backlog_of_another_account():
    router = Router(1)
    router.arrives(A)
    for _ in range(20):
        router.arrives(A)
    router.arrives(B)
    router.ends(router.running[0], 100)
    assert [router.next_turn().key[2] for _ in range(1)] == ["b"]


def test_requests_of_one_account_are_served_in_the_order_of_arrival():
    router = Router(0)
    charges = [router.arrives(A, expected=1 + number % 3) for number in range(9)]
    router.places = 99
    assert [router.next_turn() for _ in charges] == charges


@pytest.mark.parametrize("shares", [(1, 1, 1, 1, 1), (1, 2, 4)])
def test_flooding_accounts_get_tokens_by_their_shares(shares: tuple[int, ...]):
    """The requests of the accounts differ in length, and from what is expected."""
    router, draw = Router(0), random.Random(7)
    accounts = [Account(f"k{number}", share=share) for number, share in enumerate(shares)]
    used = dict.fromkeys((account.name for account in accounts), 0)
    for account in accounts:
        for _ in range(400):
            router.arrives(account)
    router.places = 8
    for _ in range(600):
        while router.next_turn():
            pass
        ended = draw.choice(router.running)
        tokens = draw.randint(1, 100 * (1 + int(ended.key[2][1:])))
        used[ended.key[2]] += tokens
        router.ends(ended, tokens)
    total = sum(used.values())
    for account in accounts:
        assert used[account.name] / total == pytest.approx(account.share / sum(shares), rel=0.1)


def test_idle_time_saves_nothing_up():
    router = Router(1)
    for _ in range(50):
        router.arrives(A)
    for _ in range(20):
        router.ends(router.running[0], 100)
        router.next_turn()
    for _ in range(10):
        router.arrives(B)  # has never used anything
    router.served.clear()
    for _ in range(20):
        router.ends(router.running[0], 100)
        router.next_turn()
    assert router.served.count("b") == 10
    assert "".join(router.served[:4]) in ("baba", "bbab", "babb", "bbba"), "b catches up with what runs, no more"


def test_an_account_pays_for_what_it_used_while_none_waited():
    router = Router(1)
    for _ in range(10):
        router.ends(router.arrives(A), 1000)
        router.sweeps(router.now + 1)
    router.arrives(C)
    router.arrives(B)
    router.arrives(A)
    router.ends(router.running[0], 1)
    assert router.next_turn().key[2] == "b"


def test_requests_that_had_no_charge_count_as_those_that_had_one():
    """A request has no charge if it gets a place at once and ends while none waits."""
    charged, uncharged = Router(1), Router(1)
    half = Account("half", share=0.5)
    for account, tokens in ((A, 300), (B, 100), (A, 50), (half, 10), (A, 7)):
        charged.ends(charged.arrives(account), tokens)
        charged.sweeps(charged.now + 1)
        uncharged.order.use(account, "m", tokens)
        uncharged.sweeps(uncharged.now + 1)
    assert charged.order.counters == uncharged.order.counters
    assert uncharged.tokens(A) > uncharged.tokens(B)


def test_a_cancelled_request_costs_what_it_used():
    router = Router(1)
    first = router.arrives(A)
    router.arrives(A, expected=500)
    router.ends(first, 0)
    served = router.next_turn()
    assert router.tokens(A) == 500
    router.ends(served, 20)
    assert router.tokens(A) == 20


def test_a_higher_priority_goes_first_and_a_lower_one_does_not_starve():
    high, low = Account("high", priority=1), Account("low", priority=-1)
    router = Router(0)
    for _ in range(100):
        router.arrives(low)
        router.arrives(high)
    router.places = 1000
    assert {router.next_turn().key[2] for _ in range(10)} == {"high"}
    router.sweeps(2 * AGING_SECONDS + 1)
    assert [router.next_turn().key[2] for _ in range(4)] == ["high", "low", "high", "high"]
    router.sweeps(4 * AGING_SECONDS + 2)
    assert [router.next_turn().key[2] for _ in range(3)] == ["high", "low", "high"]


def test_a_request_of_low_priority_leaves_places_to_others():
    router = Router(0)
    charge = router.arrives(Account("batch", priority=-1))
    assert charge.is_background
    router.sweeps(AGING_SECONDS)
    assert router.queue.is_first("m", router.waiting[0])
    assert charge.is_background, "no other request waits"
    router.arrives(A)
    assert router.queue.is_first("m", router.waiting[0])
    assert not charge.is_background, "the other request would wait behind this one"


def test_the_sweep_wakes_a_request_that_may_have_a_place_now():
    router = Router(0)
    router.arrives(Account("batch", priority=-1))
    waiter = router.waiting[0]
    waiter.wait()  # it has tried once, when it joined the queue
    router.sweeps(1)
    assert waiter._event.is_set()  # noqa: SLF001


def test_one_account_does_not_fill_the_queue():
    router = Router(0, size=100)
    for _ in range(89):
        router.arrives(A)
    with pytest.raises(Exception, match="too many of your requests"):
        router.arrives(A)
    for _ in range(10):
        router.arrives(B)
    with pytest.raises(Exception, match="too many of your requests"):
        router.arrives(A)


def test_counters_of_long_ago_are_forgotten():
    order = FairOrder()
    for number in range(MAX_COUNTERS + 10):
        order.charge(Charge(("", 0, f"k{number}"), 1, 0, 0), 5)
    order.flush()
    assert len(order.counters) == MAX_COUNTERS
    assert ("", 0, "k9") not in order.counters


def test_accounts_of_other_instances_do_not_count():
    """A model's large use of its own instances is no debt at other instances."""
    queue = RequestQueue(99)
    queue.groups = {"m": "m", "n": "n"}
    queue.order.charge(queue.new_charge(A, "n", 0, 0), 10**9)
    first = queue.join("m", 9, 1, charge=queue.new_charge(A, "m", 0, 0))
    second = queue.join("m", 9, 1, charge=queue.new_charge(B, "m", 0, 0))
    assert queue.is_first("m", second)
    queue.serve("m", second)
    assert queue.is_first("m", first)
    queue.serve("m", first)
    assert queue.order.counters.value(("m", 0, "a")) == 0


def test_of_two_groups_the_one_that_waits_longest_has_its_turn():
    ranks = [("g", Rank(0, 0, 900, 3)), ("h", Rank(0, 0, 1, 2)), ("g", Rank(0, 0, 800, 4)), ("h", Rank(-1, 1, 9, 9))]
    assert in_order(ranks) == [3, 1, 2, 0]
    assert precedes("g", Rank(0, 0, 900, 1), "h", Rank(0, 0, 0, 2))
    assert not precedes("g", Rank(0, 0, 900, 1), "g", Rank(0, 0, 0, 2))


def test_a_request_that_waits_is_behind_no_later_one_of_its_counter():
    assert Rank(0, 0, 5, 7) < Rank(0, 0, 5, LAST)


# Properties.

ACCOUNTS = [
    Account("a"),
    Account("b", share=2),
    Account("c", share=0.5),
    Account("low", priority=-2),
    Account("high", priority=3),
]
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("arrive", "arrive", "end", "cancel", "progress", "sweep", "pass")),
        st.integers(0, 99),
        st.integers(0, 5000),
    ),
    max_size=120,
)


def play(router: Router, used: dict[str, float], steps: list[Step]) -> None:
    """Let requests arrive, run, end, fail and be cancelled; after each step serve all that can be served.

    Some requests get no charge, because they begin and end while none waits.
    """
    for kind, choice, tokens in steps:
        if kind == "arrive":
            router.arrives(ACCOUNTS[choice % len(ACCOUNTS)], expected=max(1, tokens))
        elif kind == "end" and router.running:
            charge = router.running[choice % len(router.running)]
            tokens *= choice % 3 > 0  # a third of the requests fail
            used[charge.key[2]] += tokens
            router.ends(charge, tokens)
        elif kind == "cancel" and router.waiting:
            router.cancels(router.waiting[choice % len(router.waiting)])
        elif kind == "progress" and router.running:
            charge = router.running[choice % len(router.running)]
            router.order.charge(charge, max(charge.tokens, tokens))
        elif kind == "sweep":
            router.sweeps(router.now + tokens / 1000)
        elif kind == "pass" and not router.waiting:
            router.order.use(ACCOUNTS[choice % len(ACCOUNTS)], "m", tokens)
        while router.next_turn():
            pass
        assert not router.waiting or len(router.running) >= router.places, "a place is free while a request waits"


@given(STEPS, st.integers(1, 4))
def test_no_place_is_free_while_a_request_waits_and_each_gets_its_turn(steps: list[Step], places: int):
    router = Router(places)
    play(router, dict.fromkeys((account.name for account in ACCOUNTS), 0.0), steps)
    for _ in range(len(router.waiting)):
        router.ends(router.running[0], 10)
        assert router.next_turn() is not None
    assert router.queue.waiting == 0
    assert router.queue.lengths() == {}


@given(STEPS)
def test_requests_of_an_account_keep_their_order(steps: list[Step]):
    router = Router(2)
    play(router, dict.fromkeys((account.name for account in ACCOUNTS), 0.0), steps)
    left: dict[str, list[int]] = {}
    while router.waiting:
        by_charge = {waiter.charge: waiter.number for waiter in router.waiting}
        router.ends(router.running[0], 1)
        served = router.next_turn()
        left.setdefault(served.key[2], []).append(by_charge[served])
    assert all(numbers == sorted(numbers) for numbers in left.values())


def check_drift(router: Router, used: dict[str, float], charged: dict[str, int]) -> None:
    for charge in list(router.running):
        router.ends(charge, 0)
    router.order.flush()
    for account in ACCOUNTS:
        expected = used[account.name] / account.share * UNITS_PER_TOKEN
        assert charged.get(account.name, 0) == pytest.approx(expected, abs=10, rel=1e-9), account.name


def watched(router: Router) -> dict[str, int]:
    """Return the units with which each account is charged in all, which follow every charge of the order."""
    charged: dict[str, int] = {}
    charge_of = router.order.charge

    def charge(charge: Charge, tokens: int) -> None:
        before = charge.units
        charge_of(charge, tokens)
        charged[charge.key[2]] = charged.get(charge.key[2], 0) + charge.units - before

    router.order.charge = charge  # type: ignore[method-assign]
    return charged


@given(STEPS)
def test_counters_rise_by_what_was_used_and_never_drift(steps: list[Step]):
    router, used = Router(3), dict.fromkeys((account.name for account in ACCOUNTS), 0.0)
    charged = watched(router)
    play(router, used, steps)
    check_drift(router, used, charged)


@pytest.mark.long
def test_a_million_arrivals_cancellations_and_failures_leave_no_drift():
    draw, router = random.Random(1), Router(8)
    used = dict.fromkeys((account.name for account in ACCOUNTS), 0.0)
    charged = watched(router)
    kinds = ("arrive", "arrive", "arrive", "end", "end", "cancel", "progress", "pass")
    for _ in range(2000):
        steps = [(draw.choice(kinds), draw.randrange(100), draw.randrange(5000)) for _ in range(500)]
        while len(router.waiting) > 200:
            router.cancels(router.waiting[draw.randrange(len(router.waiting))])
        play(router, used, steps)
        router.sweeps(router.now + 1)
    check_drift(router, used, charged)
    assert len(router.order._waiting) <= len(ACCOUNTS)  # noqa: SLF001
    for waiter in list(router.waiting):
        router.cancels(waiter)
    counters = router.order.counters
    equal = [counters[key] for account in ACCOUNTS[:3] if (key := ("", 0, account.name)) in counters]
    assert max(equal) - min(equal) <= 100_000 * UNITS_PER_TOKEN, "accounts that are always active stay side by side"
    assert counters[("", 0, BASE)] <= max(equal)
