"""The rules in svc.toml: how many instances of a model are awake at which times."""

from datetime import datetime

import pytest

from svc.base.errors import ConfigError
from svc.base.toml import parse_toml
from svc.config.awake_rules import MAX_AWAKE, AwakeRules, ModelRule, Schedule, read_rules
from svc.config.settings_file import load_awake_rules, load_settings

MONDAY, SUNDAY = 7, 13  # of December 2026


def rules_of(text):
    rules, problems = read_rules(parse_toml(text.encode()))
    assert problems == []
    return rules


def schedule(first, last, awake=2, days=""):
    named_days = f"days = {days}\n" if days else ""
    return rules_of(f'[[schedule]]\nmodel = "m"\nfrom = "{first}"\nto = "{last}"\nawake = {awake}\n{named_days}')


def at(day, clock):
    return datetime(2026, 12, day, *map(int, clock.split(":")))


def test_a_model_without_a_rule_sleeps_until_it_is_needed():
    assert AwakeRules().rule_at("m", at(MONDAY, "12:00")) == ModelRule("m", 0, MAX_AWAKE, 5)


def test_every_key_of_a_rule_is_read():
    rules = rules_of('[[model]]\nname = "m"\nawake_min = 1\nawake_max = 3\nwake_after = 0.5\n')
    assert rules.models == (ModelRule("m", 1, 3, 0.5),)
    assert rules.rule_at("m", at(MONDAY, "12:00")) == ModelRule("m", 1, 3, 0.5)
    assert rules.rule_at("other", at(MONDAY, "12:00")) == ModelRule("other", 0, MAX_AWAKE)
    assert rules.model_names() == {"m"}


@pytest.mark.parametrize(
    ("clock", "awake"), [("07:59", 0), ("08:00", 2), ("17:59", 2), ("18:00", 0), ("00:00", 0), ("23:59", 0)]
)
def test_a_schedule_begins_at_its_first_minute_and_ends_before_its_last(clock, awake):
    assert schedule("08:00", "18:00").rule_at("m", at(MONDAY, clock)).awake_min == awake


@pytest.mark.parametrize(
    ("day", "clock", "awake"),
    [
        (MONDAY, "21:59", 0),
        (MONDAY, "22:00", 2),
        (MONDAY + 1, "05:59", 2),  # the night that began on Monday
        (MONDAY + 1, "06:00", 0),
        (MONDAY + 1, "22:00", 0),
        (MONDAY, "05:59", 2),  # the night that began on Sunday
        (SUNDAY, "05:59", 0),
        (SUNDAY, "22:00", 2),
    ],
)
def test_a_schedule_over_midnight_belongs_to_the_day_on_which_it_begins(day, clock, awake):
    assert schedule("22:00", "06:00", days='["mon", "sun"]').rule_at("m", at(day, clock)).awake_min == awake


def test_a_whole_day_is_from_0_to_24():
    whole = schedule("00:00", "24:00", days='["mon"]')
    assert [whole.rule_at("m", at(MONDAY, clock)).awake_min for clock in ("00:00", "23:59")] == [2, 2]
    assert whole.rule_at("m", at(MONDAY + 1, "00:00")).awake_min == 0


def test_the_largest_of_overlapping_schedules_counts_and_replaces_awake_min():
    day, noon = Schedule("m", 8 * 60, 18 * 60, awake=1), Schedule("m", 12 * 60, 13 * 60, awake=2)
    rules = AwakeRules((ModelRule("m", awake_min=3),), (day, noon))
    awake = [rules.rule_at("m", at(MONDAY, clock)).awake_min for clock in ("10:00", "12:30", "20:00")]
    assert awake == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[model]\nname = "m"', "[model]: there may be several; write [[model]]"),
        ("[[model]]\nawake_min = 1", "[[model]] 1: name: missing; name the model, such as"),
        ('[[model]]\nname = "m"\nawake_mim = 1', "[[model]] 1: awake_mim: unknown key; did you mean awake_min?"),
        ('[[model]]\nname = "m"\nawake_max = 0', "[[model]] 1: awake_max: must be between 1 and 10000, not 0"),
        ('[[model]]\nname = "m"\n[[model]]\nname = "m"', "[[model]]: there are 2 for 'm'; make them one"),
        (
            '[[model]]\nname = "m"\nawake_min = 3\nawake_max = 2',
            "[[model]] 'm': awake_min = 3 is more than awake_max = 2",
        ),
        (
            '[[schedule]]\nmodel = "m"\nfrom = "8:00"\nto = "18:00"\nawake = 1',
            "[[schedule]] 1: from: must be a time of the day, not '8:00'; write it like \"08:00\"",
        ),
        (
            '[[schedule]]\nmodel = "m"\nfrom = 08:00:00\nto = "18:00"\nawake = 1',
            "[[schedule]] 1: from: must be a time of the day, not 08:00:00; write it like",
        ),
        (
            '[[schedule]]\nmodel = "m"\nfrom = "08:00"\nto = "08:00"\nawake = 1',
            "[[schedule]] of 'm': has no duration; for the whole day, write",
        ),
        (
            '[[schedule]]\nmodel = "m"\ndays = ["monday"]\nfrom = "08:00"\nto = "18:00"\nawake = 1',
            "[[schedule]] 1: days: 'monday' is no day; there are mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            '[[schedule]]\nmodel = "m"\ndays = []\nfrom = "08:00"\nto = "18:00"\nawake = 1',
            "[[schedule]] 1: days: must not be empty; name a day",
        ),
        (
            '[[model]]\nname = "m"\nawake_max = 1\n[[schedule]]\nmodel = "m"\nfrom = "08:00"\nto = "18:00"\nawake = 2',
            "[[schedule]] of 'm': awake = 2 is more than its awake_max = 1; change one",
        ),
    ],
)
def test_a_wrong_rule_is_an_error_of_the_settings_file(tmp_path, text, problem):
    file = tmp_path / "svc.toml"
    file.write_text(text)
    for load in (load_awake_rules, load_settings):
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert [line.startswith(f"{file}: {problem}") for line in caught.value.problems] == [True], caught.value


def test_every_wrong_rule_is_reported_beside_wrong_settings(tmp_path):
    file = tmp_path / "svc.toml"
    file.write_text('[[model]]\nx = 1\n[[schedule]]\nmodel = 1\n[router]\nport = "x"\n[modell]\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert len(caught.value.problems) == 8
    assert any("unknown section [modell]" in line and "schedule" in line for line in caught.value.problems)


def test_the_router_reads_the_file_only_if_it_has_rules(tmp_path):
    file = tmp_path / "config" / "svc.toml"
    file.parent.mkdir()
    file.write_text("[router]\nport = 1\n")
    assert load_settings(file).router.awake_rules_file == ""
    file.write_text('[[model]]\nname = "m"\n')
    assert load_settings(file).router.awake_rules_file == "config/svc.toml"
    assert load_awake_rules(file).models == (ModelRule("m"),)
    file.write_text('[[model]]\nname = "m"\n[router]\nawake_rules_file = "other.toml"\n')
    assert load_settings(file).router.awake_rules_file == "other.toml"
