import itertools
import math
from collections import Counter, defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.policy import LONGEST_CYCLE, POLICIES, SHARE, Member, PickContext, Pool, cycle, prompt
from svc.router.balance.routing_request import RoutingRequest

weights = st.lists(st.integers(0, 12), min_size=1, max_size=6)
loads = st.lists(st.integers(0, 30), min_size=6, max_size=6)
sessions = st.binary(min_size=1, max_size=20)


def pool(*weights: int, names: str = "abcdef", types: tuple[str, ...] = ("",) * 6) -> Pool:
    return Pool.of(Member(n, w, t) for n, w, t in zip(names, weights, types, strict=False))


def moment(loads: dict[str, int] | None = None, tried: tuple[str, ...] = (), draw: float = 0.3) -> PickContext:
    return PickContext(loads or {}, defaultdict(itertools.count), lambda: draw, 100, tried)


def picks(policy: str, pool: Pool, count: int, ask: RoutingRequest | None = None) -> Counter[str]:
    now = moment()
    return Counter(m.name for _ in range(count) if (m := POLICIES[policy](pool, ask or RoutingRequest(), now)))


def prompted(size: int, session: bytes = b"") -> RoutingRequest:
    return RoutingRequest("m", session, b'{"prompt": "%b"}' % (b"x" * (size - 2)))


@given(weights)
def test_round_robin_honours_weights_exactly_over_a_cycle(weights: list[int]):
    made = pool(*weights)
    shares = weights if any(weights) else [1] * len(weights)
    divisor = math.gcd(*shares)
    length = sum(shares) // divisor
    assert len(made.cycle) == length
    for policy in ("round_robin", "auto"):
        found = picks(policy, made, 3 * length)
        assert [found[m.name] for m in made.members] == [3 * s // divisor for s in shares]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_the_cycle_is_smooth(weights: list[int]):
    """At no moment has anybody had over one turn more or less than the share of the turns so far."""
    order = cycle(weights)
    for index, weight in enumerate(weights):
        share = Fraction(weight, sum(weights))
        had = list(itertools.accumulate(int(i == index) for i in order))
        assert all(abs(n - share * turn) <= len(weights) / 2 for turn, n in enumerate(had, 1))


def test_huge_weights_do_not_make_a_huge_cycle():
    order = cycle([1_000_003, 999_983, 1])
    assert len(order) <= LONGEST_CYCLE + 3
    assert Counter(order)[2] == 1


@pytest.mark.parametrize("policy", POLICIES)
@given(weights=weights, held=loads, asked=st.data())
def test_nobody_is_picked_twice_and_everybody_once(
    policy: str, weights: list[int], held: list[int], asked: st.DataObject
):
    made = pool(*weights, types=("static", "", "paged", "", "static", ""))
    ask = asked.draw(
        st.sampled_from(
            [RoutingRequest(), prompted(50), prompted(500), prompted(500, b"s"), RoutingRequest(session=b"s")]
        )
    )
    tried: tuple[str, ...] = ()
    draw = asked.draw(st.floats(0, 1, exclude_max=True))
    held_by = dict(zip("abcdef", held, strict=True))
    for _ in weights:
        member = POLICIES[policy](made, ask, moment(held_by, tried, draw))
        assert member is not None
        assert member.name not in tried
        tried = (*tried, member.name)
    assert POLICIES[policy](made, ask, moment(held_by, tried, draw)) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_is_there(policy: str):
    assert POLICIES[policy](Pool(), RoutingRequest(session=b"s"), moment()) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_weight_0_gets_nothing_while_another_is_left(policy: str):
    made = pool(0, 2, 1)
    for held in ({}, {"b": 100, "c": 100}):
        for draw in (0.0, 0.5, 0.99):
            now = moment(held, draw=draw)
            assert all(
                POLICIES[policy](made, ask, now).name != "a"
                for ask in (RoutingRequest(), RoutingRequest(session=b"s"), prompted(9))
            )
    assert POLICIES[policy](made, RoutingRequest(), moment(tried=("b", "c"))).name == "a"
    assert (
        len(
            picks("session", pool(0, 0), 1, RoutingRequest(session=b"s"))
            + picks("session", pool(0, 0), 1, RoutingRequest(session=b"x"))
        )
        == 2
    )


@given(st.lists(sessions, min_size=1, max_size=20), st.permutations("abcdef"), st.integers(2, 6))
def test_two_pools_agree_in_whatever_order_they_were_made(keys: list[bytes], names: list[str], count: int):
    first = Pool.of(Member(n) for n in sorted(names[:count]))
    second = Pool.of(Member(n) for n in names[:count])
    for key in keys:
        ask = RoutingRequest(session=key)
        assert POLICIES["session"](first, ask, moment()).name == POLICIES["session"](second, ask, moment()).name


@given(st.lists(sessions, min_size=1, max_size=30), st.lists(st.integers(1, 5), min_size=2, max_size=6), st.data())
def test_when_an_instance_leaves_only_its_sessions_move(keys: list[bytes], weights: list[int], data: st.DataObject):
    members = [Member(n, w) for n, w in zip("abcdef", weights, strict=False)]
    gone = data.draw(st.sampled_from(members))
    before, after = Pool.of(members), Pool.of(m for m in members if m != gone)
    for key in keys:
        ask = RoutingRequest(session=key)
        chosen = POLICIES["session"](before, ask, moment())
        if chosen != gone:
            assert POLICIES["session"](after, ask, moment()) == chosen
        else:  # and where they go is where a retry would have gone
            assert POLICIES["session"](after, ask, moment()) == POLICIES["session"](
                before, ask, moment(tried=(gone.name,))
            )


def test_sessions_are_spread_by_weight():
    found = Counter(
        POLICIES["session"](pool(1, 3), RoutingRequest(session=b"%d" % n), moment()).name for n in range(4000)
    )
    assert 0.7 < found["b"] / 4000 < 0.8


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), loads, sessions)
def test_no_session_takes_an_instance_beyond_its_share(weights: list[int], held: list[int], key: bytes):
    made = pool(*weights)
    held_by = dict(zip("abcdef", held, strict=True))
    chosen = POLICIES["session"](made, RoutingRequest(session=key), moment(held_by))
    total = sum(held_by[m.name] for m in made.members) + 1
    assert held_by[chosen.name] + 1 <= math.ceil(SHARE * total * chosen.weight / sum(weights))


def test_a_session_returns_to_its_own_when_the_load_is_gone():
    made, ask = pool(1, 1, 1), RoutingRequest(session=b"key")
    own = POLICIES["session"](made, ask, moment()).name
    assert POLICIES["session"](made, ask, moment({own: 50})).name != own
    assert POLICIES["session"](made, ask, moment({m.name: 2 for m in made.members})).name == own


def test_auto_takes_the_cache_type_by_the_size_of_the_prompt():
    made = pool(1, 1, 1, 1, types=("static", "paged", "static", ""))
    assert set(picks("auto", made, 8, prompted(101))) == {"a", "c"}
    assert set(picks("auto", made, 8, prompted(100))) == {"b"}
    assert set(picks("auto", made, 8, RoutingRequest("m", b"", b"not JSON"))) == {"b"}
    assert len(picks("auto", made, 8, prompted(101, b"session"))) == 1


def test_auto_takes_anybody_when_nobody_has_the_cache_type():
    assert set(picks("auto", pool(1, 1, types=("static", "static")), 4, prompted(10))) == {"a", "b"}
    made = pool(1, 1, types=("static", ""))
    assert POLICIES["auto"](made, prompted(101), moment(tried=("a",))).name == "b"


def test_each_pool_of_a_cache_type_counts_its_own_turns():
    made = pool(1, 1, 1, 1, types=("static", "static", "paged", "paged"))
    now = moment()
    found = Counter(POLICIES["auto"](made, prompted(size), now).name for size in (500, 10) * 20)
    assert found == {"a": 10, "b": 10, "c": 10, "d": 10}


def test_sessions_take_no_turns():
    made, now = pool(1, 1), moment()
    found = Counter(
        POLICIES["auto"](made, ask, now).name
        for ask in (RoutingRequest(), RoutingRequest(session=b"s")) * 10
        if ask == RoutingRequest()
    )
    assert sum(found.values()) == 10
    now = moment()
    without = [POLICIES["auto"](made, ask, now).name for ask in (RoutingRequest(), RoutingRequest(session=b"s")) * 10][
        ::2
    ]
    assert Counter(without) == {"a": 5, "b": 5}


def test_second_tries_take_no_turns():
    """Else the one that fails would be first with every request."""
    made, now = pool(1, 1), moment()
    first = []
    for _ in range(10):
        now.tried = ()
        first.append(POLICIES["round_robin"](made, RoutingRequest(), now).name)
        if first[-1] == "a":
            now.tried = ("a",)
            assert POLICIES["round_robin"](made, RoutingRequest(), now).name == "b"
    assert Counter(first) == {"a": 5, "b": 5}


def test_least_requests_and_power_of_two_mind_the_load_by_weight():
    held = {"a": 4, "b": 3, "c": 1}
    assert POLICIES["least_requests"](pool(2, 1, 1), RoutingRequest(), moment(held)).name == "c"
    assert POLICIES["least_requests"](pool(8, 1, 1), RoutingRequest(), moment(held)).name == "a"
    assert set(picks("least_requests", pool(1, 1, 1), 9)) == {"a", "b", "c"}
    for draw in (0.0, 0.4, 0.99):
        assert POLICIES["power_of_two"](pool(1, 1), RoutingRequest(), moment({"a": 2, "b": 1}, draw=draw)).name == "b"


def test_random_goes_by_weight():
    found = Counter(POLICIES["random"](pool(3, 1), RoutingRequest(), moment(draw=n / 100)).name for n in range(100))
    assert found == {"a": 75, "b": 25}


def test_prefix_brings_the_same_beginnings_together():
    def asked(text: str) -> RoutingRequest:
        return RoutingRequest(
            "m", b"", b'{"model": "m", "messages": [{"role": "system", "content": "%b"}]}' % text.encode()
        )

    made = pool(1, 1, 1, 1)
    system = "You are a helpful assistant. " * 100
    chosen = {POLICIES["prefix"](made, asked(system + str(n)), moment()).name for n in range(20)}
    assert len(chosen) == 1
    assert len({POLICIES["prefix"](made, asked(f"{n}{system}"), moment()).name for n in range(20)}) > 1
    assert len(picks("prefix", made, 4, RoutingRequest("m", b"", b"{}"))) == 4


def test_the_prompt_of_a_body():
    assert prompt(b'{"messages": [1, 2], "model": "m"}') == b"[1, 2]"
    assert prompt(b'{"prompt": "x"}') == b'"x"'
    for body in (b"", b"{}", b"[", b"\xff", b'{"prompt": "\xff"}', b"[]", b"7"):
        assert isinstance(prompt(body), bytes)


def test_the_highest_score_of_all_is_no_division_by_zero(monkeypatch: pytest.MonkeyPatch):
    from svc.router.balance import policy

    seed = policy.digest(b"a")
    for key in range(2000):
        assert policy._score(key ^ seed, seed, 1) > 0  # noqa: SLF001
    monkeypatch.setattr(policy, "MASK", 0)
    assert policy._score(1, 2, 1) > 0  # noqa: SLF001
