"""The script of `svc completion` in a real shell."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.sites import BIN, clean_environ

TOML = 'name = "qwen"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["demo/small"]\n'
BASH = """
eval "$(svc completion bash)"
complete -p svc
svc keys add nightly > /dev/null 2> /dev/null
for line in "svc drain q" "svc verb" "svc vers" "svc keys revoke n" "svc doctor --model d"; do
    COMP_WORDS=($line) COMP_CWORD=$(set -- $line; echo $(($# - 1))) COMPREPLY=()
    _svc_completion svc
    echo "$line: ${COMPREPLY[*]}"
done
"""
FISH = """
svc completion fish | source
svc keys add nightly >/dev/null 2>/dev/null
for line in "svc drain q" "svc vers" "svc keys revoke n" "svc doctor --model d"
    echo "$line: "(complete -C "$line" | string split -f1 \\t)
end
"""


def run(directory: Path, shell: str, script: str) -> list[str]:
    """Run a script in a site with the instance qwen, whose registry does not answer; return the lines of its output."""
    (directory / "config").mkdir()
    (directory / "config" / "qwen.toml").write_text(TOML)
    environ = clean_environ() | {"REGISTRY_URL": "http://127.0.0.1:9", "HOME": str(directory)}
    environ["PATH"] = f"{BIN}:{environ['PATH']}"
    completed = subprocess.run([shell, "-c", script], cwd=directory, env=environ, capture_output=True, text=True)
    assert completed.stderr == ""
    return completed.stdout.splitlines()


def test_bash_completes_commands_and_names(tmp_path: Path):
    first, *lines = run(tmp_path, "bash", BASH)
    assert first == "complete -o nosort -F _svc_completion svc"
    assert lines == [
        "svc drain q: qwen",
        "svc verb: ",
        "svc vers: version",
        "svc keys revoke n: nightly",
        "svc doctor --model d: demo/small",
    ]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_commands_and_names(tmp_path: Path):
    assert run(tmp_path, "fish", FISH) == [
        "svc drain q: qwen",
        "svc vers: version",
        "svc keys revoke n: nightly",
        "svc doctor --model d: demo/small",
    ]
