"""Progress in a log has results only; on a terminal, finished items have a tick."""

import io

from svc.terminal.console import Console
from svc.terminal.progress import waiting


def shown(terminal: bool) -> str:
    out = io.StringIO()
    with waiting(Console(file=out, force_terminal=terminal, width=80)) as progress:
        progress.show("router", "starting")
        progress.note("the registry is slow")
        progress.done("router", "ready")
    return out.getvalue()


def test_a_log_gets_results_and_notes_but_no_states():
    lines = shown(terminal=False).splitlines()
    assert lines[0] == "the registry is slow"
    assert lines[1].startswith("router")
    assert "ready (" in lines[1]
    assert len(lines) == 2


def test_a_terminal_gets_a_tick_for_a_finished_item():
    last = shown(terminal=True).rpartition("✓")[2]
    assert "router" in last
    assert "ready" in last
