"""The file of the engines' own keys: which key an instance gets, and what is refused without showing a key."""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.config.upstream_keys import load, parse

PATH = Path("upstream.toml")
TEXT = b"""
[instances]
qwen-server = "of-the-instance"
[models]
"Qwen/Qwen3-8B" = "of-the-model"
other = "of-another"
"""


@pytest.mark.parametrize(
    ("instance", "models", "key"),
    [
        ("qwen-server", ["Qwen/Qwen3-8B"], "of-the-instance"),
        ("second", ["lora", "Qwen/Qwen3-8B", "other"], "of-the-model"),
        ("second", ["lora"], ""),
        ("Qwen/Qwen3-8B", [], ""),
    ],
)
def test_an_instance_gets_its_own_key_before_its_models(instance, models, key):
    assert parse(TEXT, PATH).find(instance, models) == key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "has neither [instances] nor [models]"),
        (b'extra = "hidden"\n[models]\nm = "k"', "'extra': unknown section"),
        (b'models = "hidden"', "models: must be a section"),
        (b'[models]\nm = "hid den"', "[models] 'm': must be one key"),
        (b'[models]\nm = ""', "[models] 'm': must be one key"),
        (b'[models]\nm = "hidden\\u00e9"', "[models] 'm': must be one key"),
        (b'[models]\nm = "hidden\\r\\nX-Evil: 1"', "[models] 'm': must be one key"),
        (b"[models]\nm = 7", "[models] 'm': must be one key"),
        (b'[instances]\na.b = "hidden"', "[instances] 'a': a name with a dot stands in quotes"),
        (b'[models]\nm = "hidden', "not TOML"),
        (b"[models]\n\xff", "line 2 is not UTF-8"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_with_its_name(text, problem):
    with pytest.raises(ConfigError) as caught:
        parse(text, PATH)
    assert f"upstream.toml: {problem}" in str(caught.value)
    assert "hid" not in str(caught.value)


def test_every_problem_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        parse(b'extra = 1\n[models]\nm = "a b"\nn = 1', PATH)
    assert len(caught.value.problems) == 3


def test_a_missing_file_is_reported_with_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the file that upstream_keys_file names.*; make"):
        load(tmp_path / "none.toml")


def test_keys_are_not_shown_by_repr():
    assert "of-the" not in repr(parse(TEXT, PATH))
