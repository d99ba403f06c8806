import itertools
import json
import math
from collections import Counter, defaultdict
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.conversation import block_hashes, conversation_of
from svc.router.balance.policies import MAX_PREFIX_REQUESTS, MAX_SESSION_LOAD_RATIO, POLICIES, PickContext
from svc.router.balance.pool import MAX_CYCLE_LENGTH, Member, Pool, cycle
from svc.router.balance.prefix_map import PrefixMap
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.work import EngineView, Work
from svc.router.http.json_body import reread_body
from tests.unit.router.examples import target

weights = st.lists(st.integers(0, 12), min_size=1, max_size=6)
loads = st.lists(st.integers(0, 30), min_size=6, max_size=6)
sessions = st.binary(min_size=1, max_size=20)


def member(name: str, weight: int = 1, cache_type: str = "") -> Member:
    return Member(name, target(name), weight, cache_type)


def pool(*weights: int, types: tuple[str, ...] = ("",) * 6) -> Pool:
    return Pool.of(map(member, "abcdef", weights, types))


def context(
    loads: dict[str, int] | None = None,
    excluded: tuple[str, ...] = (),
    draw: float = 0.3,
    prefixes: PrefixMap | None = None,
) -> PickContext:
    known = PrefixMap(1 << 20) if prefixes is None else prefixes
    return PickContext(
        loads or {}, defaultdict(itertools.count), lambda: draw, 100, excluded, known, Work(), auto_prefix=True
    )


def engine_context(
    others: dict[str, int], crowded: str = "", tokens: dict[str, int] | None = None, excluded: tuple[str, ...] = ()
) -> PickContext:
    """Return a context in which engines have reported their load."""
    result = context(excluded=excluded)
    result.work.tokens.update(tokens or {})
    result.work.use_view(EngineView(others, frozenset(crowded)))
    return result


def picks(policy: str, pool: Pool, count: int, request: RoutingRequest | None = None) -> Counter[str]:
    now = context()
    return Counter(m.name for _ in range(count) if (m := POLICIES[policy](pool, request or RoutingRequest(), now)))


def prompted(size: int, session: bytes = b"") -> RoutingRequest:
    return RoutingRequest("m", session, b'{"prompt": "%b"}' % (b"x" * size))


@given(weights)
def test_round_robin_honours_weights_exactly_over_a_cycle(weights: list[int]):
    members = pool(*weights)
    shares = weights if any(weights) else [1] * len(weights)
    divisor = math.gcd(*shares)
    length = sum(shares) // divisor
    assert len(members.cycle) == length
    for policy in ("round_robin", "auto"):
        counts = picks(policy, members, 3 * length)
        assert [counts[m.name] for m in members.members] == [3 * s // divisor for s in shares]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_the_cycle_is_smooth(weights: list[int]):
    """At no time has an instance had over one turn more or less than its share of the turns so far."""
    order = cycle(weights)
    for index, weight in enumerate(weights):
        share = Fraction(weight, sum(weights))
        had = list(itertools.accumulate(int(i == index) for i in order))
        assert all(abs(n - share * turn) <= len(weights) / 2 for turn, n in enumerate(had, 1))


def test_huge_weights_do_not_make_a_huge_cycle():
    order = cycle([1_000_003, 999_983, 1])
    assert len(order) <= MAX_CYCLE_LENGTH + 3
    assert Counter(order)[2] == 1


@pytest.mark.parametrize("policy", POLICIES)
@given(weights=weights, in_flight=loads, data=st.data())
def test_each_instance_is_picked_once_by_a_request(
    policy: str, weights: list[int], in_flight: list[int], data: st.DataObject
):
    members = pool(*weights, types=("static", "", "paged", "", "static", ""))
    request = data.draw(
        st.sampled_from(
            [RoutingRequest(), prompted(50), prompted(500), prompted(500, b"s"), RoutingRequest(session=b"s")]
        )
    )
    picked: tuple[str, ...] = ()
    draw = data.draw(st.floats(0, 1, exclude_max=True))
    in_flight = dict(zip("abcdef", in_flight, strict=True))
    for _ in weights:
        chosen = POLICIES[policy](members, request, context(in_flight, picked, draw))
        assert chosen is not None
        assert chosen.name not in picked
        picked = (*picked, chosen.name)
    assert POLICIES[policy](members, request, context(in_flight, picked, draw)) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_an_empty_pool_has_no_instance(policy: str):
    assert POLICIES[policy](Pool(), RoutingRequest(session=b"s"), context()) is None


@pytest.mark.parametrize("policy", POLICIES)
def test_weight_0_gets_nothing_while_there_is_another(policy: str):
    members = pool(0, 2, 1)
    for in_flight in ({}, {"b": 100, "c": 100}):
        for draw in (0.0, 0.5, 0.99):
            now = context(in_flight, draw=draw)
            assert all(
                POLICIES[policy](members, request, now).name != "a"
                for request in (RoutingRequest(), RoutingRequest(session=b"s"), prompted(9))
            )
    assert POLICIES[policy](members, RoutingRequest(), context(excluded=("b", "c"))).name == "a"
    assert (
        len(
            picks("session", pool(0, 0), 1, RoutingRequest(session=b"s"))
            + picks("session", pool(0, 0), 1, RoutingRequest(session=b"x"))
        )
        == 2
    )


@given(st.lists(sessions, min_size=1, max_size=20), st.permutations("abcdef"), st.integers(2, 6))
def test_pools_agree_on_sessions_in_any_order_of_members(keys: list[bytes], names: list[str], count: int):
    first = Pool.of(map(member, sorted(names[:count])))
    second = Pool.of(map(member, names[:count]))
    for key in keys:
        request = RoutingRequest(session=key)
        assert (
            POLICIES["session"](first, request, context()).name == POLICIES["session"](second, request, context()).name
        )


@given(st.lists(sessions, min_size=1, max_size=30), st.lists(st.integers(1, 5), min_size=2, max_size=6), st.data())
def test_when_an_instance_leaves_only_its_sessions_move(keys: list[bytes], weights: list[int], data: st.DataObject):
    members = list(map(member, "abcdef", weights))
    gone = data.draw(st.sampled_from(members))
    before, after = Pool.of(members), Pool.of(m for m in members if m != gone)
    for key in keys:
        request = RoutingRequest(session=key)
        chosen = POLICIES["session"](before, request, context())
        if chosen != gone:
            assert POLICIES["session"](after, request, context()) == chosen
        else:  # they go where a retry would have gone
            assert POLICIES["session"](after, request, context()) == POLICIES["session"](
                before, request, context(excluded=(gone.name,))
            )


def test_sessions_are_spread_by_weight():
    counts = Counter(
        POLICIES["session"](pool(1, 3), RoutingRequest(session=b"%d" % n), context()).name for n in range(4000)
    )
    assert 0.7 < counts["b"] / 4000 < 0.8


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), loads, sessions)
def test_no_session_exceeds_the_maximum_load_of_an_instance(weights: list[int], in_flight: list[int], key: bytes):
    members = pool(*weights)
    in_flight = dict(zip("abcdef", in_flight, strict=True))
    chosen = POLICIES["session"](members, RoutingRequest(session=key), context(in_flight))
    total = sum(in_flight[m.name] for m in members.members) + 1
    assert in_flight[chosen.name] + 1 <= math.ceil(MAX_SESSION_LOAD_RATIO * total * chosen.weight / sum(weights))


def test_a_session_returns_to_its_instance_when_the_load_is_gone():
    members, request = pool(1, 1, 1), RoutingRequest(session=b"key")
    own = POLICIES["session"](members, request, context()).name
    assert POLICIES["session"](members, request, context({own: 50})).name != own
    assert POLICIES["session"](members, request, context({m.name: 2 for m in members.members})).name == own


def test_auto_takes_the_cache_type_by_the_size_of_the_prompt():
    members = pool(1, 1, 1, 1, types=("static", "paged", "static", ""))
    assert set(picks("auto", members, 8, prompted(101))) == {"a", "c"}
    assert set(picks("auto", members, 8, prompted(100))) == {"b"}
    assert set(picks("auto", members, 8, RoutingRequest("m", b"", b"not JSON"))) == {"b"}
    assert len(picks("auto", members, 8, prompted(101, b"session"))) == 1


def test_auto_takes_any_instance_when_none_has_the_cache_type():
    assert set(picks("auto", pool(1, 1, types=("static", "static")), 4, prompted(10))) == {"a", "b"}
    members = pool(1, 1, types=("static", ""))
    assert POLICIES["auto"](members, prompted(101), context(excluded=("a",))).name == "b"


def test_each_pool_of_a_cache_type_counts_its_own_turns():
    members = pool(1, 1, 1, 1, types=("static", "static", "paged", "paged"))
    now = context()
    counts = Counter(POLICIES["auto"](members, prompted(size), now).name for size in (500, 10) * 20)
    assert counts == {"a": 10, "b": 10, "c": 10, "d": 10}


def test_sessions_take_no_turns():
    members, now = pool(1, 1), context()
    counts = Counter(
        POLICIES["auto"](members, request, now).name
        for request in (RoutingRequest(), RoutingRequest(session=b"s")) * 10
        if request == RoutingRequest()
    )
    assert sum(counts.values()) == 10
    now = context()
    without = [
        POLICIES["auto"](members, request, now).name
        for request in (RoutingRequest(), RoutingRequest(session=b"s")) * 10
    ][::2]
    assert Counter(without) == {"a": 5, "b": 5}


def test_repeated_attempts_take_no_turns():
    """Otherwise the instance that fails would be first for every request."""
    members, now = pool(1, 1), context()
    first = []
    for _ in range(10):
        now.excluded = ()
        first.append(POLICIES["round_robin"](members, RoutingRequest(), now).name)
        if first[-1] == "a":
            now.excluded = ("a",)
            assert POLICIES["round_robin"](members, RoutingRequest(), now).name == "b"
    assert Counter(first) == {"a": 5, "b": 5}


def test_least_requests_and_power_of_two_weigh_the_load():
    in_flight = {"a": 4, "b": 3, "c": 1}
    assert POLICIES["least_requests"](pool(2, 1, 1), RoutingRequest(), context(in_flight)).name == "c"
    assert POLICIES["least_requests"](pool(8, 1, 1), RoutingRequest(), context(in_flight)).name == "a"
    assert set(picks("least_requests", pool(1, 1, 1), 9)) == {"a", "b", "c"}
    for draw in (0.0, 0.4, 0.99):
        assert POLICIES["power_of_two"](pool(1, 1), RoutingRequest(), context({"a": 2, "b": 1}, draw=draw)).name == "b"


def test_random_picks_by_weight():
    counts = Counter(POLICIES["random"](pool(3, 1), RoutingRequest(), context(draw=n / 100)).name for n in range(100))
    assert counts == {"a": 75, "b": 25}


def test_the_highest_score_divides_by_no_zero(monkeypatch: pytest.MonkeyPatch):
    from svc.router.balance import policies

    seed = policies.digest(b"a")
    for key in range(2000):
        assert policies._score(key ^ seed, seed, 1) > 0  # noqa: SLF001
    monkeypatch.setattr(policies, "MASK_64_BITS", 0)
    assert policies._score(1, 2, 1) > 0  # noqa: SLF001


SYSTEM = "You are a helpful assistant. " * 210  # 6 KB


def chat(*texts: str, system: str = SYSTEM) -> RoutingRequest:
    messages = [{"role": "system", "content": system}, *({"role": "user", "content": text} for text in texts)]
    return RoutingRequest("m", b"", json.dumps({"model": "m", "messages": messages}).encode())


def chosen(request: RoutingRequest, members: Pool, context: PickContext) -> str:
    return POLICIES["prefix"](members, request, context).name


def test_prefix_sends_conversations_with_a_common_prefix_to_one_instance():
    members = pool(1, 1, 1, 1)
    now = context()
    assert len({chosen(chat(f"{n}"), members, now) for n in range(20)}) == 1
    assert len({chosen(chat("x", system=f"{n}{SYSTEM}"), members, now) for n in range(20)}) > 1
    assert len({chosen(chat("x"), members, context()) for _ in range(20)}) == 1, "also routers that know nothing yet"
    assert len(picks("prefix", members, 4, RoutingRequest("m", b"", b"{}"))) == 4


def test_prefix_sends_short_prompts_that_are_equal_to_one_instance():
    members = pool(1, 1, 1, 1)
    assert len({chosen(prompted(50), members, context()) for _ in range(20)}) == 1
    assert len({chosen(prompted(size), members, context()) for size in range(40)}) > 1


def test_a_conversation_stays_where_its_longest_prefix_is():
    members, prefixes = pool(1, 1, 1), PrefixMap(1 << 20)
    story = ["Tell me a story. " * 100, "Once upon a time. " * 100]
    first = chosen(chat(story[0]), members, context(prefixes=prefixes))
    second = chosen(chat("Another chat. " * 100), members, context({first: 9}, prefixes=prefixes))
    third = chosen(chat("A third one. " * 100), members, context({first: 9, second: 9}, prefixes=prefixes))
    assert len({first, second, third}) == 3
    for in_flight in ({}, {first: 1}, {second: 1, third: 1}):
        assert chosen(chat(*story), members, context(in_flight, prefixes=prefixes)) == first


def test_an_instance_may_exceed_its_share_by_a_prefix_that_only_it_was_sent():
    """The longer it is, the more: it would cost another instance its computation."""
    members = pool(1, 1, 1, 1)

    def accepted(size: int) -> int:
        """The number of requests in flight with which the instance gets the next turn of a conversation."""
        prefixes = PrefixMap(1 << 20)
        own = chosen(prompted(size), members, context(prefixes=prefixes))
        turns = (chosen(prompted(size + 9), members, context({own: load}, prefixes=prefixes)) for load in range(40))
        return next(load for load, name in enumerate(turns) if name != own)

    sizes = [accepted(size) for size in (1_000, 10_000, 20_000, 100_000, 400_000)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    assert sizes[0] == 1
    assert sizes[-1] <= 8


def test_the_least_loaded_gets_a_conversation_whose_instances_are_overloaded():
    members, prefixes = pool(1, 1, 1, 1), PrefixMap(1 << 20)
    own = chosen(chat("x"), members, context(prefixes=prefixes))
    others = [name for name in "abcd" if name != own]
    loads = {own: 30, others[0]: 2, others[1]: 1, others[2]: 3}
    assert chosen(chat("x"), members, context(loads, prefixes=prefixes)) == others[1]
    assert chosen(chat("x"), members, context({**loads, own: 1}, prefixes=prefixes)) in (own, others[1])


def test_instances_with_equally_long_prefixes_share_new_conversations():
    members, prefixes = pool(1, 1, 1), PrefixMap(1 << 20)
    for own in "abc":
        prefixes.add(block_hashes(conversation_of(chat(own * 900)), members.seed), own)
    now = context(prefixes=prefixes)
    news = [chat(f"{n} " * 300) for n in range(30)]
    assert Counter(chosen(request, members, now) for request in news) == {"a": 10, "b": 10, "c": 10}
    assert chosen(chat("x"), members, context({"a": 1, "c": 1}, prefixes=prefixes)) == "b"


def test_models_of_one_instance_share_no_prefixes():
    prefixes = PrefixMap(1 << 20)
    first, second = (Pool.of(map(member, "abcd"), model) for model in ("m", "adapter"))
    own = chosen(chat("x"), first, context(prefixes=prefixes))
    busy = context({own: 1, **dict.fromkeys({*"abcd"} - {own}, 9)}, prefixes=prefixes)
    assert chosen(chat("x"), first, busy) == own
    hashes = block_hashes(conversation_of(chat("x")), second.seed)
    assert prefixes.find(hashes) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), loads), min_size=1, max_size=12))
def test_prefix_decides_equally_for_the_same_state(requests: list[tuple[int, int, list[int]]]):
    members = pool(1, 2, 1, 1)
    states = [(defaultdict(itertools.count), PrefixMap(1 << 20)) for _ in range(2)]
    for system, user, in_flight in requests:
        request = chat("question " * user * 200, system=f"{system} {SYSTEM}")
        loads = dict(zip("abcd", in_flight, strict=False))
        names = [
            chosen(request, members, PickContext(loads, turns, lambda: 0.5, 100, (), prefixes, Work()))
            for turns, prefixes in states
        ]
        assert names[0] == names[1]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), loads)
def test_no_prefix_exceeds_the_maximum_load_of_an_instance(weights: list[int], in_flight: list[int]):
    """The maximum is its share and MAX_PREFIX_REQUESTS more, unless all instances are overloaded."""
    members, prefixes = pool(*weights), PrefixMap(1 << 20)
    loads = dict(zip("abcdef", in_flight, strict=True))
    chosen(prompted(100_000), members, context(prefixes=prefixes))
    picked = POLICIES["prefix"](members, prompted(100_000), context(loads, prefixes=prefixes))
    total = sum(loads[m.name] for m in members.members) + 1
    share = MAX_SESSION_LOAD_RATIO * total * picked.weight / sum(weights)
    assert loads[picked.name] + 1 <= math.ceil(share + MAX_PREFIX_REQUESTS)


def test_least_load_chooses_the_least_work_for_the_weight():
    choose, members = POLICIES["least_load"], pool(1, 2, 1)
    assert choose(members, RoutingRequest(), engine_context({}, tokens={"a": 300, "b": 500, "c": 301})).name == "b"
    assert choose(members, RoutingRequest(), engine_context({"a": 1, "b": 1, "c": 0})).name == "c"
    now = engine_context({"a": 1, "b": 2, "c": 3}, tokens={"a": 2000})
    assert choose(members, RoutingRequest(), now).name == "b"


@given(weights)
def test_least_load_of_idle_members_is_round_robin(weights: list[int]):
    members, now = pool(*weights), engine_context({})
    length = len(members.cycle)
    chosen = [POLICIES["least_load"](members, RoutingRequest(), now).name for _ in range(2 * length)]
    assert chosen == [POLICIES["round_robin"](members, RoutingRequest(), now).name for _ in range(2 * length)]


def test_least_load_takes_turns_among_equals_and_leaves_out_excluded_members():
    choose, members, now = POLICIES["least_load"], pool(1, 1, 1), engine_context({})
    assert Counter(choose(members, RoutingRequest(), now).name for _ in range(9)) == {"a": 3, "b": 3, "c": 3}
    assert choose(members, RoutingRequest(), engine_context({"b": 9, "c": 0}, excluded=("a", "c"))).name == "b"
    assert choose(members, RoutingRequest(), engine_context({}, excluded=("a", "b", "c"))) is None


def test_least_load_takes_an_unknown_load_for_a_mean_one():
    now = engine_context({"a": 0, "b": 4})
    ranked = []
    members = pool(1, 1, 1)
    for _ in range(3):
        ranked.append(POLICIES["least_load"](members, RoutingRequest(), now).name)
        now.work.tokens[ranked[-1]] = 100_000
    assert ranked == ["a", "c", "b"]


def test_auto_without_a_session_follows_the_loads_of_engines():
    members = pool(1, 1, 1)
    assert picks("auto", members, 9) == {"a": 3, "b": 3, "c": 3}
    assert POLICIES["auto"](members, RoutingRequest(), engine_context({"a": 2, "b": 1, "c": 3})).name == "b"


def test_auto_with_a_session_keeps_to_its_instance_whatever_the_load():
    members, request = pool(1, 1, 1), RoutingRequest("m", b"s")
    usual = POLICIES["auto"](members, request, context()).name
    others = {name: 9 * (name == usual) for name in "abc"}
    assert POLICIES["auto"](members, request, engine_context(others)).name == usual


@given(sessions)
def test_auto_leaves_out_crowded_members_unless_all_are(session: bytes):
    members = pool(1, 1, 1)
    for request in (RoutingRequest("m", session), RoutingRequest("m")):
        known = {"a": 0, "b": 0, "c": 0}
        assert POLICIES["auto"](members, request, engine_context(known, crowded="ab")).name == "c"
        assert POLICIES["auto"](members, request, engine_context(known, crowded="ab", excluded=("c",))).name in "ab"
        assert POLICIES["auto"](members, request, engine_context(known, crowded="abc")) is not None
        assert POLICIES["auto"](members, request, engine_context(known, crowded="xyz")) is not None
        all_excluded = engine_context(known, crowded="ab", excluded=("a", "b", "c"))
        assert POLICIES["auto"](members, request, all_excluded) is None


def test_auto_prefers_a_crowded_member_of_the_right_cache_type_to_none():
    members = pool(1, 1, types=("static", "paged"))
    assert POLICIES["auto"](members, prompted(500), engine_context({"a": 0, "b": 0})).name == "a"
    assert POLICIES["auto"](members, prompted(500), engine_context({"a": 0, "b": 0}, crowded="a")).name == "b"
    assert POLICIES["auto"](members, prompted(500), engine_context({"a": 0, "b": 0}, crowded="ab")).name == "a"


def test_auto_sends_a_conversation_where_its_prefix_is_and_short_prompts_in_turn():
    members, prefixes = pool(1, 1, 1), PrefixMap(1 << 20)
    story = ["Tell me a story. " * 100, "Once upon a time. " * 100]
    first = POLICIES["auto"](members, chat(story[0]), context(prefixes=prefixes)).name
    for loads in ({}, {first: 1}, {name: 1 for name in "abc" if name != first}):
        assert POLICIES["auto"](members, chat(*story), context(loads, prefixes=prefixes)).name == first
    assert picks("auto", members, 9, prompted(50)) == {"a": 3, "b": 3, "c": 3}


def test_auto_sends_conversations_by_session_or_in_turn_unless_the_setting_allows_prefixes():
    members = pool(1, 1, 1)
    plain = msgspec.structs.replace(context(), auto_prefix=False)
    assert {POLICIES["auto"](members, prompted(4000), plain).name for _ in range(3)} == {"a", "b", "c"}
    for number in range(8):
        request = prompted(4000, b"session-%d" % number)
        assert POLICIES["auto"](members, request, plain) is POLICIES["session"](members, request, plain)


def test_auto_sends_an_unknown_conversation_as_prefix_does_and_short_prompts_by_session():
    members = pool(1, 1, 1, 1)
    long = [msgspec.structs.replace(chat("x", system=f"{n} {SYSTEM}"), session=b"%d" % n) for n in range(8)]
    short = [prompted(50, b"%d" % n) for n in range(8)]
    for policy, requests in (("prefix", long), ("session", short)):
        for request in requests:
            own = POLICIES[policy](members, request, context()).name
            assert POLICIES["auto"](members, request, context()).name == own


def test_auto_sends_responses_by_their_session_alone():
    """Instances keep responses, and every router finds them by the session."""
    members, prefixes = pool(1, 1, 1, 1), PrefixMap(1 << 20)
    body = json.dumps({"model": "m", "input": [{"role": "user", "content": SYSTEM}]}).encode()
    for number, json_body in itertools.product(range(8), (reread_body(body), None)):  # None: an alias was replaced
        request = RoutingRequest("m", b"session-%d" % number, body, json=json_body)
        own = POLICIES["session"](members, request, context()).name
        assert POLICIES["auto"](members, request, context(prefixes=prefixes)).name == own
    without = RoutingRequest("m", b"", body, json=reread_body(body))
    assert len(picks("auto", members, 4, without)) == 1, "by their prefix"
