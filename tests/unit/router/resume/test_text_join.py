import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.resume.text_join import TextEnd, TextJoin, text_end

text = st.text("ab \n", max_size=8)


def joined(end: TextEnd, *pieces: str) -> str:
    join = TextJoin(end)
    return "|".join(map(join.add, pieces))


@pytest.mark.parametrize(
    ("left_out", "pieces", "passed"),
    [
        ("", ("\n", "a"), "\n|a"),
        ("\n", ("\n", "a"), "|a"),
        (" \n", (" ", "\n\na"), "|\na"),
        ("\n", (" a",), " a"),
        ("  ", (" a", " b"), "a| b"),
        ("\n", ("", "\na", "\n"), "|a|\n"),
    ],
)
def test_white_space_that_the_client_has_is_removed_once(left_out: str, pieces: tuple[str, ...], passed: str):
    assert joined(TextEnd(left_out), *pieces) == passed


@given(text, st.text(" \n", max_size=4), st.integers(0, 8))
def test_the_rest_of_a_text_comes_whole_in_any_pieces(rest: str, left_out: str, cut: int):
    whole = left_out + rest
    assert joined(TextEnd(left_out), whole[:cut], whole[cut:]).replace("|", "") == rest


@pytest.mark.parametrize(
    ("stops", "keeps", "pieces", "passed", "stop"),
    [
        (("1234",), False, ("34", "5"), "|", "1234"),
        (("1234",), True, ("345", "6"), "34|", "1234"),
        (("1234",), False, ("3", "4"), "3|", "1234"),
        (("1234",), False, ("3", "5", "1234"), "3|5|1234", ""),  # the instance itself notices the last one
        (("2", "1234"), False, ("x", "2"), "x|2", ""),
        (("1234", "123"), True, ("34",), "3", "123"),
    ],
)
def test_a_stop_that_began_before_the_break_ends_the_text(
    stops: tuple[str, ...], keeps: bool, pieces: tuple[str, ...], passed: str, stop: str
):
    join = TextJoin(text_end("x12", "", stops, keeps))
    assert "|".join(map(join.add, pieces)) == passed
    assert join.stop == stop


@given(text, text, st.text("ab", min_size=1, max_size=4), st.integers(0, 8))
def test_a_stop_is_found_exactly_where_it_crosses_the_break(before: str, after: str, stop: str, cut: int):
    join = TextJoin(text_end(before, "", (stop,), False))
    passed = join.add(after[:cut]) + join.add(after[cut:])
    crossing = [
        at for at in range(len(before)) if (before + after).startswith(stop, at) and at + len(stop) > len(before)
    ]
    assert bool(join.stop) == bool(crossing)
    assert after.startswith(passed)
    assert crossing or passed == after
