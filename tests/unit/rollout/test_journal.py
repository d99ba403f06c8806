"""The journal of a rollout, which another run reads to finish it."""

import json
import os
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.rollout.journal import RESUME_TIMEOUT_SECONDS, Journal


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.make_dirs()
    return site


def test_a_written_journal_is_read_again_and_a_complete_end_removes_it(site: Site):
    journal = Journal.load(site)
    journal.command, journal.drained, journal.begun, journal.done = "restart a", {"a-server"}, {"a"}, {"b"}
    journal.write()
    again = Journal.load(site)
    assert (again.command, again.drained, again.begun, again.done) == ("restart a", {"a-server"}, {"a"}, {"b"})
    assert again.written_at > 0
    again.drained, again.begun = set(), set()
    again.end(complete=True)
    assert not {"rollout.json", ".rollout.json.new"} & set(os.listdir(site.var))


def test_a_repeated_command_goes_on_for_an_hour_and_drain_marks_are_kept(site: Site):
    for command, later, done in (("same", 1, {"b"}), ("same", RESUME_TIMEOUT_SECONDS, set()), ("other", 1, set())):
        journal = Journal(site.var / "rollout.json", "same", 1000, {"a-server"}, set(), {"b"})
        journal.begin(command, 1000 + later)
        assert (journal.done, journal.drained) == (done, {"a-server"})


def test_an_unreadable_journal_is_an_error_with_the_cure(site: Site):
    for text in ("", "[]", json.dumps({"what": "x"})):
        (site.var / "rollout.json").write_text(text)
        with pytest.raises(CommandError, match=r"rollout\.json: cannot read what an earlier rollout has begun"):
            Journal.load(site)


def test_unfinished_instances_are_those_drained_or_begun_by_an_earlier_rollout(site: Site):
    journal = Journal(site.var / "rollout.json", "apply", 1000, {"a-server", "b-server"}, {"c"}, {"d"})
    assert journal.unfinished(["b"]) == ["a", "c"]


def test_the_command_that_finishes_an_interrupted_one_has_its_flag(site: Site):
    for command, allow_downtime, handover, repeated in (
        ("restart a", True, None, "rollout restart a --allow-downtime"),
        ("restart a", False, None, "rollout restart a"),
        ("apply", True, None, "apply --allow-downtime"),
        ("apply", True, 30, "apply --allow-downtime --handover 30s"),
        ("restart a", False, 0.5, "rollout restart a --handover 0.5s"),
    ):
        journal = Journal.load(site)
        journal.begin(command, 1000, allow_downtime, handover)
        journal.begun = {"a"}
        journal.write()
        assert Journal.load(site).repeated() == repeated
