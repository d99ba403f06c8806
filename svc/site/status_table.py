"""The output of `svc status`: a table of programs, and the problems and warnings below it. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from svc.protocol.health_state import WARNING, level_of
from svc.site.status import UNKNOWN, ProgramStatus, SiteStatus
from svc.terminal.table import COLUMN_GAP, Block, TableRow, crop, duration, table_blocks, wrapped

HEAD = ("PROGRAM", "STATE", "PID", "UP", "RESTARTS", "HEALTH", "ADDRESS")
OPTIONAL_COLUMNS = ("PID", "ADDRESS")  # dropped in this order on a narrow terminal
TRANSIENT_STATES = ("RUNNING", "STARTING", "STOPPING", "STOPPED")  # states in supervisord
MIN_PROGRAM_LINES = 3  # always shown: the header, one program, and the number of further programs


def status_lines(status: SiteStatus, width: int, height: int | None = None) -> Iterator[Text]:
    """Yield the lines of the programs, then the lines of the problems and warnings.

    If `height` is too small for all lines, yield the problems first, then the programs in the worst states.
    """
    rows = [
        TableRow(_cells(program), _style(program), _lines_below(program, width), program.models)
        for program in status.programs
    ]
    head, *blocks = table_blocks(HEAD, rows, width, OPTIONAL_COLUMNS)
    styles = {program.name: _style(program) for program in status.programs}
    problem_width = None if height is None else width
    problems = [_problem(problem, styles, problem_width) for problem in status.problems]
    problems += [_problem(warning, {}, problem_width, "yellow") for warning in status.warnings]
    if height is None or sum(len(block.lines) for block in (head, *blocks, *problems)) <= height:
        yield from crop([head, *blocks, *problems], None)
        return
    problem_lines = crop(problems, height - MIN_PROGRAM_LINES)
    yield from problem_lines
    yield from head.lines
    yield from crop(blocks, height - len(problem_lines) - 1)


def _problem(problem: str, styles: Mapping[str, str], width: int | None, default: str = "red") -> Block:
    """Return the lines of a problem, in the colour of the program that it begins with, else in the `default` colour."""
    style = styles.get(problem.partition(": ")[0], default)
    return Block([Text(line, style=style) for line in ([problem] if width is None else wrapped(problem, width))], style)


def _style(program: ProgramStatus) -> str:
    """Return the colour of a program: none if it is in order, red for a failure, else yellow.

    A transient state, or a state that an operator requested, is not a failure. Nor is unknown health, which is a
    failure of the server that should report it.
    """
    transient = program.state in TRANSIENT_STATES and (level_of(program.health) == WARNING or program.health == UNKNOWN)
    return "" if program.ok else "yellow" if transient else "red"


def _cells(program: ProgramStatus) -> tuple[str, ...]:
    restarts = "" if program.restarts is None else f"{program.restarts}/{_abbreviated(program.max_restarts or 0)}"
    pid = str(program.pid) if program.pid else ""
    return (program.name, program.state, pid, duration(program.uptime), restarts, program.health, program.address)


def _lines_below(program: ProgramStatus, width: int) -> Sequence[str]:
    return wrapped(f"last restart: {program.reason}", width - len(COLUMN_GAP)) if program.reason else ()


def _abbreviated(number: int) -> str:
    """Return the number as text; a round one gets a unit, such as 1M for 1000000, to keep the column narrow."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size and number % size == 0:
            return f"{number // size}{unit}"
    return str(number)
