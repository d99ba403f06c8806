"""Find the paths in babysitter TOML files that are missing on this machine; the instance's machine may have them."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from svc.config.instance.model import InstanceConfig
from svc.config.readers import quoted

MODEL_FLAGS = ("--model", "-m", "--model-path", "--model_path")  # flags of vLLM, SGLang, llama.cpp and InfiniLM
PATH_STARTS = ("/", "./", "../", "~")  # a text with a different start may be the name of a model at a hub


def missing_paths(config: InstanceConfig, root: Path) -> Iterator[str]:
    """Yield a line for each missing path of an instance. Relative paths start at its working directory."""
    work_dir = root / config.work_dir
    if not work_dir.is_dir():
        yield f"{config.source}: backend.work_dir: {quoted(config.work_dir)} is no directory on this machine"
        return  # the remaining paths may be relative to the missing directory
    for key, path in _model_paths(config):
        if not (work_dir / path).exists():
            yield f"{config.source}: backend.{key}: {quoted(path)} is not on this machine"


def _model_paths(config: InstanceConfig) -> Iterator[tuple[str, str]]:
    """Yield the key and the path of each model that the instance reads from this machine."""
    backend = config.backend
    for key in backend.path_keys:
        yield key, getattr(backend, key)
    for key in backend.model_keys:
        if (model := getattr(backend, key)).startswith(PATH_STARTS):
            yield key, model
    for key, arguments in (("command", getattr(backend, "command", ())), ("args", backend.args)):
        yield from ((key, path) for path in _flag_values(arguments) if path.startswith(PATH_STARTS))


def _flag_values(arguments: tuple[str, ...]) -> Iterator[str]:
    """Yield the values of MODEL_FLAGS, written as `--model PATH` or as `--model=PATH`."""
    yield from (value for flag, value in pairwise(arguments) if flag in MODEL_FLAGS)
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if equals and flag in MODEL_FLAGS:
            yield value
