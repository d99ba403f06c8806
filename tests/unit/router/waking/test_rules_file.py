"""The rules of a site, read again when the file changes."""

import os
from datetime import datetime
from pathlib import Path

from svc.config.awake_rules import ModelRule
from svc.router.waking.rules_file import CHECK_INTERVAL_SECONDS, RulesFile
from tests.unit.router.examples import Clock

MONDAY_NOON, SUNDAY_NOON = datetime(2026, 11, 30, 12), datetime(2026, 11, 29, 12)
RULES = """
[[model]]
name = "m"
awake_max = 3
wake_after = 9

[[schedule]]
model = "m"
days = ["mon"]
from = "08:00"
to = "18:00"
awake = 2
"""


def test_rules_are_read_again_and_the_last_valid_ones_stay(tmp_path: Path):
    path, clock = tmp_path / "svc.toml", Clock()
    rules = RulesFile(path, clock)
    assert rules.rule_at("m", MONDAY_NOON).awake_min == 0

    def write(text: str) -> None:
        path.write_text(text)
        os.utime(path, (clock.now, clock.now))
        clock.now += CHECK_INTERVAL_SECONDS

    write(RULES)
    assert rules.rule_at("m", MONDAY_NOON) == ModelRule("m", 2, 3, 9)
    assert rules.rule_at("m", SUNDAY_NOON) == ModelRule("m", 0, 3, 9)
    write(RULES.replace("2", "no number"))
    assert rules.rule_at("m", MONDAY_NOON).awake_min == 2
    write(RULES.replace("awake = 2", "awake = 1"))
    assert rules.rule_at("m", MONDAY_NOON).awake_min == 1
