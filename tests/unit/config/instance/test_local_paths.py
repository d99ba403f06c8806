"""Paths of models that are missing on this machine."""

import pytest

from svc.config.instance.local_paths import missing_paths
from svc.config.instance.model import CommandBackend, InfinilmBackend, InfinilmRustBackend, MockBackend, VllmBackend
from tests.unit.instance_configs import instance_config


def missing(root, backend):
    """Return the key and the path of each line."""
    lines = missing_paths(instance_config(backend=backend), root)
    return [line.partition(": ")[2].removesuffix(" is not on this machine") for line in lines]


@pytest.mark.parametrize(
    ("backend", "lines"),
    [
        (InfinilmBackend(model_path="weights"), ["backend.model_path: 'weights'"]),
        (InfinilmRustBackend(config_file="q.toml"), ["backend.config_file: 'q.toml'"]),
        (VllmBackend(model="/models/qwen"), ["backend.model: '/models/qwen'"]),
        (VllmBackend(model="~/qwen"), ["backend.model: '~/qwen'"]),
        (VllmBackend(model="Qwen/Qwen3-8B"), []),
        (CommandBackend(command=("llama-server", "-m", "/m.gguf")), ["backend.command: '/m.gguf'"]),
        (
            CommandBackend(command=("serve",), args=("--model-path", "../m", "--model=/n", "--log", "/x")),
            ["backend.args: '../m'", "backend.args: '/n'"],
        ),
        (CommandBackend(command=("serve",), args=("--model", "qwen", "--model")), []),
        (MockBackend(models=("/m",)), []),
    ],
)
def test_a_missing_path_is_reported_and_the_name_of_a_model_is_not(tmp_path, backend, lines):
    assert missing(tmp_path, backend) == lines


def test_a_path_that_exists_is_not_reported_and_starts_at_the_working_directory(tmp_path):
    (tmp_path / "work" / "weights").mkdir(parents=True)
    assert missing(tmp_path, InfinilmBackend(model_path="weights", work_dir="work")) == []
    assert missing(tmp_path, VllmBackend(model=str(tmp_path))) == []


def test_a_missing_working_directory_is_the_only_line(tmp_path):
    (line,) = missing_paths(instance_config(backend=InfinilmBackend(model_path="w", work_dir="gone")), tmp_path)
    assert line.endswith("backend.work_dir: 'gone' is no directory on this machine")
