"""What differs, in words that a reviewer reads, without secrets."""

import shlex

import pytest

from svc.rollout.diff import Edit
from svc.rollout.diff_text import shown


def command(old, new):
    return [(edit.old, edit.new) for edit in shown([Edit("command", old, new)])]


def test_of_a_command_only_the_words_that_differ_are_told():
    mock = "svc launch --port 8100 -- svc mock --name demo --port 8100 --models"
    assert command(f"{mock} a", f"{mock} a,b") == [("--models a", "--models a,b")]


def test_a_flag_that_comes_and_one_that_goes():
    assert command("run --a 1 --b 2", "run --a 1 --c") == [("--b 2", "--c")]
    assert command("run", "run --fast x") == [(None, "--fast x")]
    assert command("run --fast", "run") == [("--fast", None)]


def test_each_of_several_flags_faces_its_own_value():
    assert command("run --a 1 --b 2", "run --a 3 --b 4") == [("--a 1", "--a 3"), ("--b 2", "--b 4")]


def test_words_with_blanks_are_quoted_and_unbalanced_quotes_are_no_reason_to_fail():
    assert command("sh -c 'sleep 1'", "sh -c 'sleep 2'") == [("-c 'sleep 1'", "-c 'sleep 2'")]
    assert command("sh 'oops", "sh oops") == [("''\"'\"'oops'", "oops")]


def test_paths_that_are_named_from_conf_d_are_told_without_the_detour():
    assert command("run --f /site/conf.d/../config/a", "run") == [("--f /site/config/a", None)]


def test_a_secret_that_changed_is_masked_on_both_sides_and_still_told():
    [edit] = shown([Edit("environment.HF_TOKEN", "abc", "def")])
    assert edit == Edit("environment.HF_TOKEN", "***", "***")
    assert command("run --api-key abc", "run --api-key def") == [("--api-key ***", "--api-key ***")]


def test_a_variable_of_the_shim_faces_its_own():
    old = "svc launch --env 'HF_TOKEN=a\"b' --env PATH=/a -- run"
    new = "svc launch --env 'HF_TOKEN=c\"d' --env PATH=/b -- run"
    assert command(old, new) == [
        ("--env HF_TOKEN=***", "--env HF_TOKEN=***"),
        ("--env PATH=/a", "--env PATH=/b"),
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("redis://:hunter2@h:1/0", "redis://:***@h:1/0"),
        ("redis://u:hunter2@h:1/0", "redis://u:***@h:1/0"),
        ("sh -c 'HF_TOKEN=hunter2 run'", "sh -c 'HF_TOKEN=*** run'"),
        ('--extra={"api_key": "hunter2", "n": 1}', '--extra={"api_key": ***, "n": 1}'),
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        ("--password=hunter2", "--password=***"),
        ("HF_TOKEN='a b\"hunter2", "HF_TOKEN=***"),
        ('sh -c HF_TOKEN=a,"hunter2&hunter2', "sh -c HF_TOKEN=***"),
        ("http://h:8000/v1?x=1", "http://h:8000/v1?x=1"),
    ],
)
def test_a_secret_inside_a_value_is_masked(value, told):
    [edit] = shown([Edit("environment.X", None, value)])
    assert edit.new == told
    assert "hunter2" not in str(list(shown([Edit("command", None, f"run {shlex.quote(value)}")])))
