"""Text of others on terminals and in logs: nothing in it acts."""

import json

import pytest

from svc.base.printable import escaped, escaped_json, is_unsafe, log_lines, printable

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4K\x07"
DECEIVING = ["\x00", "\x1b", "\x7f", "\x85", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\U000e0041"]


@pytest.mark.parametrize("character", DECEIVING, ids=ascii)
def test_what_deceives_is_shown_escaped_or_told_in_json(character):
    text = f"a{character}b"
    for shown in (printable(text), escaped(text), escaped_json(text)):
        assert not any(map(is_unsafe, shown))
    assert len(printable(text)) == 3, "columns were computed before"
    assert json.loads(escaped_json(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("text", ["", "model-7B", "通义千问　2.5", "Grüße\u00a0…", "\U0001f916", "\\x1b"])
def test_text_that_only_is_text_stays_as_it_is(text):
    assert printable(text) == escaped(text) == escaped_json(text) == text


def test_an_escape_character_is_shown_by_its_picture():
    assert printable("\x1b[31m\n") == "␛[31m␊"
    assert printable("a\tb\nc", keep="\n\t") == "a\tb\nc"


def test_a_message_that_is_escaped_cannot_begin_a_line():
    assert escaped("x\r\n2026 INFO svc: fine\x9b0m\u202e\ud800") == r"x\r\n2026 INFO svc: fine\x9b0m\u202e\ud800"


def test_of_a_log_only_colours_reach_a_terminal_and_they_end_with_the_line():
    line = f"\x1b[1;32mINFO\x1b[0m {CLIPBOARD}\x1b[2Jx\ty".encode()
    assert log_lines(line, colours=True) == [
        "\x1b[1;32mINFO\x1b[0m ␛]52;c;cm0gLXJmIH4K␇␛[2Jx\ty\x1b[0m",
    ]
    assert log_lines(line, colours=False) == ["INFO ␛]52;c;cm0gLXJmIH4K␇␛[2Jx\ty"]


def test_bytes_that_are_no_text_are_no_sequence_either():
    assert log_lines(b"\x9b31m\xff\xc2\x9b", colours=True) == ["\ufffd31m\ufffd\ufffd"]


def test_a_progress_bar_writes_over_nothing():
    assert log_lines(b"forged\r0%\r100%\r", colours=False) == ["forged", "0%", "100%"]
