"""The lock that keeps rollouts of one site from each other, and `svc up` from a rollout."""

import os
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.site import rollout_lock


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.make_dirs()
    return site


def test_a_second_rollout_is_refused_with_the_first_one_s_command(site: Site):
    refused = pytest.raises(CommandError, match=r"^`svc apply` \(pid \d+, since .* is at work")
    with rollout_lock.exclusive(site, ["apply"]), refused, rollout_lock.exclusive(site, ["rollout"]):
        pass
    with rollout_lock.exclusive(site, ["rollout"]):
        pass


def test_shared_holders_exclude_a_rollout_and_a_rollout_excludes_them(site: Site):
    refused = pytest.raises(CommandError, match="^`svc up` is at work")
    notes: list[str] = []
    with (
        rollout_lock.shared(site, notes.append),
        rollout_lock.shared(site, notes.append),
        refused,
        rollout_lock.exclusive(site, ["apply"]),
    ):
        pass
    assert len(notes) == 1
    refused = pytest.raises(CommandError, match="^`svc apply` ")
    with rollout_lock.exclusive(site, ["apply"]), refused, rollout_lock.shared(site, notes.append):
        pass


def test_a_second_up_names_the_first(site: Site):
    notes: list[str] = []
    with rollout_lock.shared(site, notes.append):
        with rollout_lock.starting(site):
            pass
        with rollout_lock.shared(site, notes.append):
            pass
    [note] = notes
    assert note.startswith(f"another `svc up` (pid {os.getpid()}, since ")


def test_a_link_in_place_of_a_lock_is_refused_and_its_target_kept(site: Site, tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("precious")
    (site.var / rollout_lock.START_LOCK).symlink_to(target)
    with pytest.raises(CommandError, match="is a link"), rollout_lock.starting(site):
        pass
    assert target.read_text() == "precious"
