"""Checks that config/ is valid, that conf.d/ and the running programs match it, and that no rollout is unfinished."""

from collections.abc import Iterator, Sequence

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.protocol.instance_names import server_program

MAX_LINES_SHOWN = 5
APPLY_INSTEAD = "`svc plan` shows what it restarts, `svc apply` does it without failing a request; at once"


def check_files(facts: Facts) -> Iterator[Finding]:
    files = facts.files
    conf_d = "var/conf.d/" if files.runs_from_var else "conf.d/"
    if not files.present:
        yield Finding(
            "files.none",
            PROBLEM,
            "this directory is no site",
            "it has neither config/*.toml nor conf.d/*.conf",
            first_step="change to the site's directory",
            fix="svc doctor",
        )
    for number, problem in enumerate(files.errors):
        yield Finding(
            f"files.wrong.{number}",
            PROBLEM,
            problem,
            "svc check refuses the site's files: nothing new can be started",
            first_step="correct it",
            fix="svc up",
        )
    if files.stale:
        yield Finding(
            "files.stale",
            WARNING,
            f"{conf_d} is not what config/ says: what runs is older",
            _first_lines(files.stale),
            first_step=_apply_first(facts),
            fix="svc up",
            causes=("files.wrong.*", "supervisord.down"),
        )
    pending = [*facts.pending_changes, *_unread_configs(facts)]
    if pending:
        yield Finding(
            "files.pending",
            WARNING,
            f"what runs is not what {conf_d} says",
            _first_lines(pending),
            first_step=_apply_first(facts),
            fix="svc up",
            causes=("files.wrong.*", "supervisord.*"),
        )
    if files.runs_from_var and not files.in_foreground:  # `svc up --foreground` may render to var/ only
        yield Finding(
            "files.own",
            WARNING,
            "supervisord runs from var/supervisord.conf: conf.d/ is not what runs",
            "svc up was called with variables in the environment, or for single components",
            first_step="write what the variables say into config/svc.toml",
            fix="svc down && svc up",
        )


def _apply_first(facts: Facts) -> str:
    """Return what to do before the command that applies the files.

    If systemd runs the site, that command is a reload of the unit, which calls `svc apply`.
    """
    return "see with `svc plan` what it restarts, then" if facts.unit and facts.unit.is_running else APPLY_INSTEAD


def _unread_configs(facts: Facts) -> Iterator[str]:
    """Yield a line for each instance whose babysitter has loaded another version of its TOML than the current one."""
    for component in facts.instances:
        probe = facts.instance_probes.get(component.name)
        loaded = probe.info.get("config") if probe else None
        if loaded and component.name in facts.digests and loaded != facts.digests[component.name]:
            yield f"{component.name}: its babysitter has not read {component.toml} as it is now"


def _first_lines(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - MAX_LINES_SHOWN} more" if len(lines) > MAX_LINES_SHOWN else ""
    return "; ".join(lines[:MAX_LINES_SHOWN]) + more


def check_rollouts(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if a rollout is running or was interrupted."""
    rollout = facts.rollout
    if rollout is None:
        return
    names = ", ".join(dict.fromkeys([*rollout.drained, *rollout.begun]))
    if rollout.at_work:
        yield Finding(
            "rollout",
            WARNING,
            "a rollout is at work: what is below it may be its doing",
            rollout.at_work,
            first_step="wait until it is done",
            fix="svc status --watch",
        )
    else:
        yield Finding(
            "rollout",
            PROBLEM,
            f"a rollout ended in the middle, `svc {rollout.command}`",
            f"by var/rollout.json it holds {names}",
            first_step="finish it",
            fix=f"svc {rollout.command}",
            causes=(*(f"program.{server_program(name)}" for name in rollout.begun),),
        )
