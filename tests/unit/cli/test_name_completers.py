"""What a shell completes: commands, files and names."""

from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete
from click.testing import CliRunner

from svc.cli.main import COMMANDS, HIDDEN_COMMANDS, svc
from svc.config.router_key_changes import add_key

TOML = 'name = "{}"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\n'


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return the completions of a command line in a site with three instances, whose registry does not answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGISTRY_URL", "http://127.0.0.1:9")
    for directory in ("config", "conf.d", "var/conf.d"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "config" / "q.toml").write_text(TOML.format("qwen"))
    (tmp_path / "config" / "shell.toml").write_text(TOML.format("x\\nplain,$(id)"))
    (tmp_path / "conf.d" / "a;b.conf").touch()
    (tmp_path / "config" / "broken.toml").write_text("not TOML")
    (tmp_path / "conf.d" / "llama.conf").touch()
    (tmp_path / "conf.d" / "router.conf").touch()
    (tmp_path / "var" / "conf.d" / "gemma.conf").touch()
    completer = ShellComplete(svc, {}, "svc", "_SVC_COMPLETE")

    def complete(*words: str) -> list[CompletionItem]:
        return completer.get_completions(list(words[:-1]), words[-1])

    return complete


def values(items: list[CompletionItem]) -> list[str]:
    return [item.value for item in items]


def test_commands_are_completed_with_their_summaries(complete):
    assert values(complete("")) == [name for name in COMMANDS if name not in HIDDEN_COMMANDS]
    (up,) = complete("up")
    assert up.help == COMMANDS["up"]
    assert "--wait" in values(complete("drain", "--"))
    assert values(complete("keys", "")) == ["add", "list", "revoke", "set", "show"]


@pytest.mark.parametrize(
    "words", [("drain",), ("undrain",), ("remove",), ("services", "show"), ("events", "--service")]
)
def test_names_of_instances_are_completed_without_a_registry(complete, words):
    assert values(complete(*words, "")) == ["gemma", "llama", "qwen"]
    assert values(complete(*words, "q")) == ["qwen"]


def test_names_of_models_are_completed_without_a_registry(complete, tmp_path):
    (tmp_path / "config" / "q.toml").write_text(TOML.format("qwen").replace('"m"', '"Qwen/Qwen3-8B", "x;y", "q"'))
    (tmp_path / "config" / "n.toml").write_text('[backend]\ntype = "command"\n[metadata]\nmodels = ["named:7b"]\n')
    (tmp_path / "config" / "odd.toml").write_text('backend = 1\n[metadata]\nmodels = "x"\n')
    (tmp_path / "config" / "svc.toml").write_text('[router.aliases]\ngpt-4o = "q"\n')
    for words in (("doctor", "--model"), ("engine", "GET", "/v1/models", "--model")):
        assert values(complete(*words, "")) == ["Qwen/Qwen3-8B", "gpt-4o", "m", "named:7b", "q"]
        assert values(complete(*words, "Q")) == ["Qwen/Qwen3-8B"]


def test_names_of_keys_are_completed(complete, tmp_path):
    assert complete("keys", "revoke", "") == [], "there is no file of keys"
    add_key(tmp_path / "var" / "keys.toml", "ci", {})
    add_key(tmp_path / "other.toml", "nightly", {})
    assert values(complete("keys", "revoke", "")) == ["ci"]
    assert complete("keys", "revoke", "n") == []
    assert values(complete("keys", "revoke", "--file", "other.toml", "")) == ["nightly"]
    (tmp_path / "var" / "keys.toml").write_text("no TOML")
    assert complete("keys", "revoke", "") == []


def test_names_of_programs_are_completed(complete):
    names = ["gemma", "llama", "qwen", "registry", "router"]
    assert values(complete("rollout", "restart", "")) == [*names, "all"]
    assert values(complete("logs", "")) == [*names, "supervisord", "all"]


@pytest.mark.parametrize(
    "words",
    [("check",), ("up",), ("plan",), ("run", "--config-file"), ("drain", "--token-file"), ("router", "--certfile")],
)
def test_files_are_completed_by_the_shell(complete, words):
    (item,) = complete(*words, "conf")
    assert (item.value, item.type) == ("conf", "file")


@pytest.mark.parametrize(("shell", "line"), [("bash", "complete -o"), ("zsh", "#compdef svc"), ("fish", "complete --")])
def test_the_script_of_each_shell_is_printed(shell, line):
    result = CliRunner().invoke(svc, ["completion", shell])
    assert result.exit_code == 0
    assert any(text.strip().startswith(line) for text in result.output.splitlines())
    assert f"_SVC_COMPLETE={shell}_complete" in result.output
