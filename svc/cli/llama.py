"""`svc llama`: serve a small real model on the CPU."""

import os

import click

from svc.mock import llama


@click.command("llama", epilog="Such as: svc llama --port 8200 --alias gemma --threads 1")
@click.option("--host", default="127.0.0.1", show_default=True, help="the address to listen at")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--alias", metavar="NAME", default="gemma-3-270m", show_default=True, help="what clients call the model")
@click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: one for each core]")
@click.option(
    "--ctx-size",
    type=click.IntRange(64),
    default=4096,
    show_default=True,
    help="context size in tokens, of all slots together",
)
@click.option("--parallel", type=click.IntRange(1), default=4, show_default=True, help="slots: requests at a time")
@click.option(
    "--temp",
    type=click.FloatRange(0),
    default=0.8,
    show_default=True,
    help="temperature; 0: always the likeliest token",
)
@click.option("--embeddings", is_flag=True, help="answer /v1/embeddings too: texts of at most 512 tokens, mean pooling")
def command(
    host: str,
    port: int,
    alias: str,
    threads: int | None,
    ctx_size: int,
    parallel: int,
    temp: float,
    embeddings: bool,
) -> None:
    """Serve a small real model on the CPU.

    The model is Gemma 3 270M, and the server is llama.cpp's own. Both are meant for demos and tests. Once
    the model is loaded, the server answers OpenAI's API, /health, /slots and /metrics. The flags have the
    same names as those of llama-server.
    """
    model, engine = llama.prepare()
    params = engine.CommonParams()
    params.model.path, params.model_alias = str(model), {alias}
    params.hostnames, params.port = [host], port
    params.cpuparams.n_threads = threads or os.cpu_count() or 1
    params.n_ctx, params.n_parallel, params.kv_unified = ctx_size, parallel, True
    params.sampling.temp = temp
    params.chat_template, params.antiprompt = llama.CHAT_TEMPLATE, llama.STOP_TEXTS
    if embeddings:
        params.embedding, params.pooling_type = True, engine.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.endpoint_metrics, params.ui, params.cors_origins = True, False, ""
    llama.serve(engine, params)
