import json
import subprocess
import sys

import pytest

PROCESSES, KILLS = 8, 40


def outcome(operations: int, kills: int, seed: int, joins: int) -> dict[str, object]:
    module = "tests.unit.router.workers.random_operations"
    arguments = map(str, (PROCESSES, operations, kills, seed, joins))
    run = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return {**json.loads(run.stdout), "errors": run.stderr}


NOTHING_LEFT = {"failures": 0, "left": {}, "queue": 0, "errors": ""}


@pytest.mark.parametrize(("seed", "joins"), [(1, 1), (2, 1), (3, 0), (4, 0)])
def test_counts_keep_their_limits_and_are_zero_at_the_end(seed, joins):
    assert outcome(2000, KILLS, seed, joins) == NOTHING_LEFT


@pytest.mark.long
@pytest.mark.parametrize("joins", [0, 1])
def test_a_million_operations_keep_the_limits(joins):
    assert outcome(125_000, 200, 3, joins) == NOTHING_LEFT
