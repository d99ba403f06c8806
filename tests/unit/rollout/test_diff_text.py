"""Differences as a reviewer reads them, without secrets."""

import shlex

import pytest

from svc.rollout.diff import Edit
from svc.rollout.diff_text import masked_edits


def command(old, new):
    return [(edit.old, edit.new) for edit in masked_edits([Edit("command", old, new)])]


def test_only_the_arguments_of_a_command_that_differ_are_shown():
    mock = "svc launch --port 8100 -- svc mock --name demo --port 8100 --models"
    assert command(f"{mock} a", f"{mock} a,b") == [("--models a", "--models a,b")]


def test_an_added_flag_and_a_removed_flag():
    assert command("run --a 1 --b 2", "run --a 1 --c") == [("--b 2", "--c")]
    assert command("run", "run --fast x") == [(None, "--fast x")]
    assert command("run --fast", "run") == [("--fast", None)]


def test_each_of_several_flags_is_paired_with_its_own_value():
    assert command("run --a 1 --b 2", "run --a 3 --b 4") == [("--a 1", "--a 3"), ("--b 2", "--b 4")]


def test_blanks_are_quoted_and_unbalanced_quotes_do_not_fail():
    assert command("sh -c 'sleep 1'", "sh -c 'sleep 2'") == [("-c 'sleep 1'", "-c 'sleep 2'")]
    assert command("sh 'oops", "sh oops") == [("''\"'\"'oops'", "oops")]


def test_paths_are_shown_without_the_detour_through_conf_d():
    assert command("run --f /site/conf.d/../config/a", "run") == [("--f /site/config/a", None)]


def test_a_changed_secret_is_shown_masked_on_both_sides():
    [edit] = masked_edits([Edit("environment.HF_TOKEN", "abc", "def")])
    assert edit == Edit("environment.HF_TOKEN", "***", "***")
    assert command("run --api-key abc", "run --api-key def") == [("--api-key ***", "--api-key ***")]


def test_a_variable_of_svc_launch_is_paired_with_its_old_value():
    old = "svc launch --env 'HF_TOKEN=a\"b' --env PATH=/a -- run"
    new = "svc launch --env 'HF_TOKEN=c\"d' --env PATH=/b -- run"
    assert command(old, new) == [
        ("--env HF_TOKEN=***", "--env HF_TOKEN=***"),
        ("--env PATH=/a", "--env PATH=/b"),
    ]


@pytest.mark.parametrize(
    ("value", "masked"),
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
def test_a_secret_inside_a_value_is_masked(value, masked):
    [edit] = masked_edits([Edit("environment.X", None, value)])
    assert edit.new == masked
    assert "hunter2" not in str(list(masked_edits([Edit("command", None, f"run {shlex.quote(value)}")])))
