"""Words that other programs have as commands are answered with the command that does what they mean."""

import pytest

from svc.cli.main import COMMANDS
from svc.cli.wrong_verbs import ANSWERS, answer, answer_to_down


def answer_to(line: str) -> str | None:
    word, *arguments = line.split()
    return answer(word, arguments, "./svc", "./ctl")


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("start", "`./ctl start NAME:*` starts an instance that was stopped, `./svc up` starts the site"),
        ("stop qwen", "`./ctl stop qwen:*` stops an instance, `./svc down` stops the site"),
        ("stop config/qwen.toml", "`./ctl stop qwen:*` stops an instance, `./svc down` stops the site"),
        ("start qwen:server router", "`./ctl start qwen:server router` starts "),
        ("restart --now a b", "`./ctl restart a:* b:*` restarts an instance, and `./svc rollout restart a b` does so "),
        ("ps", "`./svc status` shows what runs here"),
        ("help", "`./svc --help` lists the commands"),
        ("help up", "`./svc up --help` describes up"),
        ("tail", "`./svc logs -f` follows the logs"),
    ],
)
def test_the_answer_names_the_right_command(line, cure):
    assert (answer_to(line) or "").startswith(f"there is no command svc {line.split()[0]}: {cure}")


def test_other_words_have_no_answer_of_their_own():
    assert answer_to("statsu") is None
    assert not set(ANSWERS) & set(COMMANDS)


def test_down_with_names_is_answered_with_the_command_that_stops_instances():
    cure = "svc down stops the whole site; `./ctl stop qwen:* router` stops an instance"
    assert answer_to_down(["config/qwen.toml", "router"], "./ctl") == cure
