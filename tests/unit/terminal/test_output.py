"""Commands print through `output` or the console alone, both of which keep terminals safe."""

import ast
import io
import json

import pytest
from rich.text import Text

from svc.base.errors import CommandError
from svc.terminal import output
from svc.terminal.console import Console
from svc.terminal.output import LogOutput, LogPrinter, LogStream
from tests.unit.source_files import ROOT, modules

EVIL = "\x1b]0;PWNED\x07\x1b[31mRED\x9bC1\u202eebed"
# Modules that may use stdout and stderr themselves, and why.
ALLOWED = {
    "__main__.py": {"print", "sys.stderr"},  # uncaught exceptions, which it escapes
    "terminal/output.py": {"click.echo", "sys.stdout"},
    "terminal/console.py": {"rich.console"},
    "supervision/launch.py": {"print", "sys.stderr"},  # it starts without click, and escapes what it prints
    "cli/keys.py": {"sys.stdout"},  # replaced where the secret could not be written
    "site/log_files.py": {"sys.stdout"},  # polled for its end
    "router/telemetry/access_log.py": {"sys.stdout"},  # the access log, which is escaped
    "mock/nvidia_smi.py": {"print"},  # a program of its own, which escapes what it prints
    "mock/server.py": {"print", "sys.stderr"},  # PyTorch's words for a lack of memory, with numbers only
    "mock/sleep_mode.py": {"print", "sys.stderr"},  # the same words
    "router/wsgi.py": {"sys.stderr"},  # required of a WSGI environment
}


def ways_to_print(module: str) -> set[str]:
    """Return the ways in which a file may print."""
    used = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                used.add("print")
            case ast.Attribute(value=ast.Name(id="click"), attr="echo" | "secho" | "prompt" | "confirm" | "pause"):
                used.add("click.echo")
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" as stream):
                used.add(f"sys.{stream}")
            case ast.ImportFrom(module="rich" | "rich.console" as source, names=names):
                if {"Console", "print", "get_console"} & {alias.name for alias in names}:
                    used.add(source)
            case ast.Import(names=names) if any(alias.name.startswith("rich") for alias in names):
                used.add("rich.console")
    return used


@pytest.mark.parametrize("module", modules())
def test_no_module_prints_in_another_way(module):
    assert ways_to_print(module) <= ALLOWED.get(module, set())


def test_a_line_stays_one_line_without_control_characters(capsys):
    output.echo(f"{EVIL}\nsvc: all is well")
    assert capsys.readouterr().out == "␛]0;PWNED␇␛[31mRED\ufffdC1\ufffdebed␊svc: all is well\n"


def test_a_block_keeps_its_lines(capsys):
    output.echo_block("+a\n-\x1b[2Jb\n")
    assert capsys.readouterr().out == "+a\n-␛[2Jb\n"


def test_json_keeps_its_meaning(capsys):
    output.echo_json({"name": EVIL + "\x7f"}, indent=2)
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert out.isascii()
    assert json.loads(out) == {"name": EVIL + "\x7f"}


@pytest.fixture
def screen():
    """A terminal, and what it got."""
    return Console(file=io.StringIO(), force_terminal=True, width=60, _environ={"TERM": "xterm"})


def test_a_console_shows_control_characters_and_keeps_its_own_styles(screen):
    screen.print_line(Text(f"a{EVIL}\nb", style="green"))
    assert screen.file.getvalue() == "\x1b[32ma␛]0;PWNED␛[31mRED\ufffdC1\ufffdebed␊b\x1b[0m\n"


def test_text_is_not_markup(screen):
    screen.print_line("[red]x[/red] [link=http://evil]y[/link] :bomb:")
    screen.print("[bold]z")
    assert screen.file.getvalue() == "[red]x[/red] [link=http://evil]y[/link] :bomb:\n[bold]z\n"


def test_live_output_is_escaped_too(screen):
    with screen.status(Text(f"looking at {EVIL}")):
        pass
    out = screen.file.getvalue()
    assert "␛]0;PWNED" in out
    assert "\x1b]" not in out
    assert "\x1b[31m" not in out


def test_program_output_is_written_by_lines_however_it_arrives():
    out = io.BytesIO()
    stream = LogStream(LogOutput(out, colours=False))
    for piece in (b"one\ntw", b"o\x1b", b"[2J\r\nload 1%\rload 2%", b"\rload 3", b"%"):
        stream(piece)
    assert out.getvalue().decode() == "one\ntwo␛[2J\nload 1%\nload 2%\n"
    stream.end()
    assert out.getvalue().decode().endswith("load 2%\nload 3%\n")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(number):
    with pytest.raises(CommandError, match="NaN, Infinity"):
        output.echo_json({"score": number})


def test_lines_of_several_programs_begin_with_their_name():
    out = io.BytesIO()
    printer = LogPrinter(LogOutput(out, colours=False), prefixed=True)
    printer.write("a", [b"one", b"1%\r2%", b"\xff"])
    printer.write("b", [])
    assert out.getvalue().decode() == "a | one\na | 1%\na | 2%\na | \ufffd\n"


def test_each_program_has_a_colour_of_its_own_on_a_terminal():
    out = io.BytesIO()
    printer = LogPrinter(LogOutput(out, colours=True), prefixed=True)
    for name in ("a", "b", "a"):
        printer.write(name, [b"x"])
    first, second, again = out.getvalue().splitlines()
    assert first == again == b"\x1b[36ma |\x1b[0m x"
    assert second == b"\x1b[33mb |\x1b[0m x"


def test_lines_of_one_program_have_no_prefix():
    out = io.BytesIO()
    LogPrinter(LogOutput(out, colours=True), prefixed=False).write("a", [b"one"])
    assert out.getvalue() == b"one\n"
