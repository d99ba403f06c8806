"""Whether supervisord runs, is the right one, and may be spoken to."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, Finding

LEAST = (4, 3)
# Of one that is not svc's, which `svc down` leaves alone.
REPLACE = 'supervisorctl -s "unix://$PWD/var/supervisor.sock" shutdown && sleep 5 && svc up'


def check(facts: Facts) -> Iterator[Finding]:
    told = facts.supervisor
    if told.owner:
        yield Finding(
            "supervisord.denied",
            PROBLEM,
            "this user may not speak to supervisord",
            told.trouble,
            fix=f"sudo -u {told.owner} svc doctor",
        )
    elif told.trouble:
        fix = f"kill {told.lost} && sleep 5 && svc down && svc up" if told.lost else "svc down && svc up"
        yield Finding("supervisord.mute", PROBLEM, "supervisord does not answer as it should", told.trouble, fix=fix)
    elif told.lost:
        yield Finding(
            "supervisord.lost",
            PROBLEM,
            f"supervisord runs (pid {told.lost}), but its socket is gone",
            "var/supervisor.sock is not there: neither svc nor supervisorctl can speak to it",
            fix=f"kill {told.lost} && sleep 5 && svc down && svc up",
        )
    elif told.pid is None and facts.files.present:
        yield _down(facts)
    if told.pid is not None and not told.extended:
        yield Finding(
            "supervisord.foreign",
            PROBLEM,
            "the supervisord that runs here is not svc's: it lacks [rpcinterface:svc]",
            f"supervisor {told.version}" + (f" of {told.python}" if told.python else ""),
            first="stop the unit or script that starts it",
            fix=REPLACE,
        )
    numbers = [int(word) for word in told.version.split(".")[:2] if word.isdigit()]
    if told.pid is not None and numbers and tuple(numbers) < LEAST:
        yield Finding(
            "supervisord.old",
            PROBLEM,
            f"supervisor {told.version} runs; svc needs 4.3",
            f"it is of {told.python}" if told.python else "it was started before an upgrade",
            fix="svc down && svc up" if told.extended else REPLACE,
            because=("supervisord.foreign",),
        )


def _down(facts: Facts) -> Finding:
    names = ", ".join(component.name for component in facts.components)
    because = ["files.wrong.*", "disk.*", "leftovers"]
    because += [f"port.{port}" for component in facts.components for port in component.ports]
    return Finding(
        "supervisord.down",
        PROBLEM,
        f"nothing runs here{f': no {names}' if names else ''}",
        "no supervisord answers on var/supervisor.sock"
        + (f"; its log ends: {facts.supervisor.last_words}" if facts.supervisor.last_words else ""),
        fix="svc up",
        because=because,
    )
