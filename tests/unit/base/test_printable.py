"""Text from outside that is safe on terminals and in logs."""

import json

import pytest

from svc.base.printable import escaped, escaped_json, is_unsafe, log_lines, printable

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4K\x07"
DECEIVING = ["\x00", "\x1b", "\x7f", "\x85", "\x9b", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff", "\U000e0041"]


@pytest.mark.parametrize("character", DECEIVING, ids=ascii)
def test_unsafe_characters_are_replaced_or_escaped(character):
    text = f"a{character}b"
    for safe in (printable(text), escaped(text), escaped_json(text)):
        assert not any(map(is_unsafe, safe))
    assert len(printable(text)) == 3, "the length stays the same for computed columns"
    assert json.loads(escaped_json(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("text", ["", "model-7B", "通义千问　2.5", "Grüße\u00a0…", "\U0001f916", "\\x1b"])
def test_safe_text_is_not_changed(text):
    assert printable(text) == escaped(text) == escaped_json(text) == text


def test_a_control_character_is_shown_by_its_unicode_picture():
    assert printable("\x1b[31m\n") == "␛[31m␊"
    assert printable("a\tb\nc", keep="\n\t") == "a\tb\nc"


def test_an_escaped_message_stays_on_one_line():
    assert escaped("x\r\n2026 INFO svc: fine\x9b0m\u202e\ud800") == r"x\r\n2026 INFO svc: fine\x9b0m\u202e\ud800"


def test_only_colours_of_a_log_reach_the_terminal_and_end_with_the_line():
    line = f"\x1b[1;32mINFO\x1b[0m {CLIPBOARD}\x1b[2Jx\ty".encode()
    assert log_lines(line, colours=True) == [
        "\x1b[1;32mINFO\x1b[0m ␛]52;c;cm0gLXJmIH4K␇␛[2Jx\ty\x1b[0m",
    ]
    assert log_lines(line, colours=False) == ["INFO ␛]52;c;cm0gLXJmIH4K␇␛[2Jx\ty"]


def test_invalid_utf8_is_no_terminal_sequence():
    assert log_lines(b"\x9b31m\xff\xc2\x9b", colours=True) == ["\ufffd31m\ufffd\ufffd"]


def test_each_state_of_a_progress_bar_is_a_line():
    assert log_lines(b"forged\r0%\r100%\r", colours=False) == ["forged", "0%", "100%"]
