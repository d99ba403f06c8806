"""A rollout that is at work on the site, or that ended in the middle. Everything here reads."""

import re

from svc.config.site import Site
from svc.doctor.collect.machine import command_of
from svc.doctor.facts import Rollout
from svc.rollout.journal import Journal


def rollout(site: Site) -> Rollout | None:
    """None where nothing is begun. Raises CommandError where the journal cannot be read."""
    journal, busy = Journal.load(site), _at_work(site)
    words = journal.command if journal.command == "apply" else f"rollout {journal.command}"
    if not busy and not (journal.drained or journal.begun):
        return None
    return Rollout(words, tuple(sorted(journal.drained)), tuple(sorted(journal.begun)), busy)


def _at_work(site: Site) -> str:
    """Who holds the lock, by its own words; one that was killed has left them there."""
    try:
        told = (site.var / "rollout.lock").read_text()
    except OSError:
        return ""
    pid = re.search(r"\(pid (\d+),", told)
    return told.strip() if pid and "svc" in command_of(int(pid[1])) else ""
