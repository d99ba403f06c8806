"""The machine that runs the documents' blocks detects every failure."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.documents.blocks import Block, read
from tests.documents.machine import Machine, missing
from tests.waiting import wait_until

PLACE = Path("docs/HERE.md")
DOCUMENT = """<!-- run by: another -->
# Title
```toml
a = 1
```

<!-- a comment that stands alone -->

<!-- before: one -->
<!-- until: it says so -->
```bash
echo 1
```
```text
1
```

1. In a list:
   ```bash
   cat <<EOF
     2
   EOF
   ```
"""


@pytest.fixture
def end() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def machine(tmp_path, end) -> Machine:
    if reason := missing():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return end.enter_context(closing(Machine(tmp_path, site="")))


def block(text: str, **notes: str) -> Block:
    return Block(PLACE, 1, text, notes)


def test_blocks_are_read_with_line_notes_and_output():
    assert read(DOCUMENT, PLACE) == [
        Block(PLACE, 11, "echo 1\n", {"run by": "another", "before": "one", "until": "it says so"}, shown="1\n"),
        Block(PLACE, 19, "cat <<EOF\n  2\nEOF\n", {"run by": "another"}),
    ]


def test_blocks_share_one_session(machine):
    machine.run(block("cd /etc\nname=there"))
    assert "/etc there" in machine.run(block('echo "$PWD $name"'))


@pytest.mark.parametrize("text", ["false\ntrue", "false | true", "curl http://127.0.0.1:9/", "no-such-command"])
def test_a_command_that_fails_fails_the_block(machine, text):
    with pytest.raises(AssertionError, match="docs/HERE.md:1: exit code"):
        machine.run(block(text))


def test_an_announced_exit_code_is_no_failure_and_another_is(machine):
    machine.run(block("(exit 2)", exits="2"))
    with pytest.raises(AssertionError, match="exit code 3"):
        machine.run(block("(exit 3)", exits="2"))


def test_a_block_is_interrupted_once_it_has_printed_its_text(machine):
    output = machine.run(block("trap 'echo ended; exit 0' INT\necho begun\nwhile :; do sleep 0.1; done", until="begun"))
    assert output.splitlines()[-1] == "ended"


def test_nothing_remains_after_the_session(machine, end):
    machine.run(block("touch /etc/left-behind /tmp/left-behind\nsleep 1234567 &\nuseradd left-behind"))
    end.close()
    assert not Path("/etc/left-behind").exists()
    assert not Path("/tmp/left-behind").exists()
    assert "left-behind" not in Path("/etc/passwd").read_text()
    wait_until(
        lambda: b"sleep\x001234567\x00" not in [path.read_bytes() for path in commands()],
        description="its process to end",
    )


def commands() -> Iterator[Path]:
    return (path for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
