import json
import os
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.rollout.journal import RESUME_WITHIN, Journal, alone, beside


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.make_dirs()
    return made


def test_what_is_written_is_read_again_and_an_end_leaves_nothing(site: Site):
    journal = Journal.of(site)
    journal.what, journal.ours, journal.begun, journal.done = "restart a", {"a-server"}, {"a"}, {"b"}
    journal.write()
    again = Journal.of(site)
    assert (again.what, again.ours, again.begun, again.done) == ("restart a", {"a-server"}, {"a"}, {"b"})
    assert again.wrote > 0
    again.ours, again.begun = set(), set()
    again.end(whole=True)
    assert not {"rollout.json", ".rollout.json.new"} & set(os.listdir(site.var))


def test_the_same_command_goes_on_within_an_hour_and_marks_are_never_forgotten(site: Site):
    for what, later, done in (("same", 1, {"b"}), ("same", RESUME_WITHIN, set()), ("other", 1, set())):
        journal = Journal(site.var / "rollout.json", "same", 1000, {"a-server"}, set(), {"b"})
        journal.begin(what, 1000 + later)
        assert (journal.done, journal.ours) == (done, {"a-server"})


def test_a_journal_that_nobody_can_read_is_told_with_the_cure(site: Site):
    for text in ("", "[]", json.dumps({"what": "x"})):
        (site.var / "rollout.json").write_text(text)
        with pytest.raises(CommandError, match=r"rollout\.json: cannot read what an earlier rollout has begun"):
            Journal.of(site)


def test_two_at_once_are_one_too_many(site: Site):
    refused = pytest.raises(CommandError, match=r"^`svc apply` \(pid \d+, since .* is at work")
    with alone(site, ["apply"]), refused, alone(site, ["rollout"]):
        pass
    with alone(site, ["rollout"]):
        pass


def test_what_may_be_done_together_is_not_done_beside_a_rollout(site: Site):
    refused = pytest.raises(CommandError, match="^`svc up` is at work")
    with beside(site), beside(site), refused, alone(site, ["apply"]):
        pass
    with alone(site, ["apply"]), pytest.raises(CommandError, match="^`svc apply` "), beside(site):
        pass
