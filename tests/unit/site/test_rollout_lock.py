"""The lock that keeps rollouts of one site from each other, and `svc up` from a rollout."""

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
    with (
        rollout_lock.shared(site),
        rollout_lock.shared(site),
        refused,
        rollout_lock.exclusive(site, ["apply"]),
    ):
        pass
    refused = pytest.raises(CommandError, match="^`svc apply` ")
    with rollout_lock.exclusive(site, ["apply"]), refused, rollout_lock.shared(site):
        pass
