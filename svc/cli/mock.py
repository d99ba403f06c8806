"""`svc mock`: run a simulated OpenAI backend."""

import os
from typing import Any, get_args

import click

from svc.base import logging
from svc.base.byte_size import parse_size
from svc.mock.behaviour import Behaviour, FinalMessage, GpuOptions, MockOptions

SECONDS = click.FloatRange(min=0)
COUNT = click.IntRange(min=0)


class Size(click.ParamType):
    """A size such as 38GB or 24GiB, which is converted to a number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the size in bytes; `value` is the text from the command line, or the default, which is a number."""
        size = value if isinstance(value, int) else int(value) if value.isdigit() else parse_size(value)
        if size is None:
            self.fail(f"{value!r} is no size; write it like 38GB or 24GiB", param, ctx)
        return size


def _gpus(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Read a list of GPUs; if it is missing, return those in CUDA_VISIBLE_DEVICES, as an engine does, else GPU 0."""
    devices = (os.environ.get("CUDA_VISIBLE_DEVICES") if value is None else value) or "0"
    if not all(device.strip().isdigit() for device in devices.split(",")):
        raise click.BadParameter(f"{devices!r} is no list of GPUs; write it like 0,1")
    return tuple(map(int, devices.split(",")))


def _models(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    models = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not models:
        raise click.BadParameter("names no model; give at least one, as in --models qwen,llama")
    return models


@click.command("mock", context_settings={"show_default": True})
@click.option("--name", default="mock", metavar="N", help="The name in its answers, and in the header x-mock-name.")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8100, help="The port to listen on; 0 for a free one."
)
@click.option("--models", default="mock", callback=_models, metavar="A,B", help="The models that it serves.")
@click.option("--host", default="127.0.0.1", metavar="ADDR", help="The address to listen on.")
@click.option(
    "--tokens",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Tokens in an answer, unless the client asks for fewer.",
)
@click.option("--first-token-delay", type=SECONDS, metavar="S", default=0, help="Seconds before the first token.")
@click.option("--token-delay", type=SECONDS, metavar="S", default=0, help="Seconds between tokens.")
@click.option(
    "--final-message",
    type=click.Choice(get_args(FinalMessage)),
    default="continue",
    help="What becomes of a final assistant message: continue it, ignore it (begin a new answer), or refuse it (400).",
)
@click.option(
    "--cut-after",
    type=COUNT,
    metavar="N",
    help="Close the connection in mid-stream after N events; 0 sends nothing.",
)
@click.option(
    "--cut-bytes",
    type=COUNT,
    metavar="N",
    help="Close the connection after N bytes of the next event, or of a body; 0 sends only the head.",
)
@click.option("--drop", is_flag=True, help="Close the connection instead of answering.")
@click.option("--reset", is_flag=True, help="Cut and drop connections with a TCP reset.")
@click.option(
    "--fail-status", type=click.IntRange(400, 599), metavar="N", help="Answer with this error.  [500 with the next two]"
)
@click.option(
    "--fail-rate", type=click.FloatRange(0, 1), metavar="X", help="Fail this share of the requests.  [all of them]"
)
@click.option("--fail-every", type=click.IntRange(min=1), metavar="N", help="Fail each Nth request.")
@click.option("--hang", is_flag=True, help="Take requests and never answer.")
@click.option("--hang-after", type=COUNT, metavar="N", help="Stop in mid-stream after N events, without closing.")
@click.option("--everywhere", is_flag=True, help="Fail, hang and drop on /health, /models and /metrics too.")
@click.option(
    "--loading", type=SECONDS, metavar="S", default=0, help="Seconds of 503 'Loading model' on every path, at first."
)
@click.option("--memory", type=COUNT, metavar="MB", default=0, help="Use MB more memory.")
@click.option("--exit-after", type=SECONDS, metavar="S", help="Exit after S seconds.")
@click.option("--exit-code", type=click.IntRange(0, 255), metavar="N", default=1, help="The exit code of --exit-after.")
@click.option(
    "--api-key",
    metavar="KEY",
    default="",
    envvar="SVC_MOCK_API_KEY",
    show_envvar=True,
    show_default=False,
    help="Require this API key under /v1, as vLLM does.",
)
@click.option("--gpu-memory", type=Size(), metavar="SIZE", default=0, help="Memory that it takes on each GPU, as 38GB.")
@click.option(
    "--gpus",
    callback=_gpus,
    metavar="N,M",
    help="The simulated GPUs that it uses.  [CUDA_VISIBLE_DEVICES, else 0]",
)
@click.option(
    "--gpu-state",
    metavar="FILE",
    default="",
    envvar="SVC_MOCK_GPUS",
    show_envvar=True,
    show_default=False,
    help="The file of simulated GPUs, which `svc mock-gpus` creates; without it, every mock fits.",
)
@click.option("--load-time", type=SECONDS, metavar="S", default=0, help="Seconds before it listens.")
@click.option("--load-rate", type=SECONDS, metavar="GB/S", default=0, help="Add the time for loading --gpu-memory.")
@click.option("--sleep-memory", type=Size(), metavar="SIZE", default=0, help="Memory that it keeps while it sleeps.")
@click.option("--wake-time", type=SECONDS, metavar="S", default=0, help="Seconds that POST /wake_up takes.")
@click.option("--child", is_flag=True, help="Fork a child that holds the port too, as a server's workers may.")
def command(
    name: str,
    port: int,
    models: tuple[str, ...],
    host: str,
    api_key: str,
    child: bool,
    gpu_state: str,
    gpu_memory: int,
    gpus: tuple[int, ...],
    sleep_memory: int,
    load_time: float,
    load_rate: float,
    wake_time: float,
    **flags: Any,
) -> None:
    """Run a fake OpenAI backend, for trying things out and for tests.

    It answers as the clients of OpenAI and Anthropic expect: chat, responses and
    messages (with tools and JSON schemas) and completions, also as streams; embeddings,
    rerank, audio, images and models. It calls a tool if the request requires
    one, and for each line of the prompt such as `call weather {"city": "Bergen"}`, one after the
    other. LoRA adapters are loaded and unloaded at /v1/load_lora_adapter
    and /v1/unload_lora_adapter, as in vLLM. If the last message is the assistant's, or if a prompt of completions ends
    with the beginning of the mock's own answer, the answer continues that text. All other answers repeat the request:

    \b
        svc mock --name alpha --port 8100 --models qwen,llama
        curl localhost:8100/v1/chat/completions -H 'content-type: application/json' \\
             -d '{"model": "qwen", "messages": [{"role": "user", "content": "Hello"}]}'

    The flags from --tokens to --exit-code can be changed while it runs, under the same
    names with underscores; null resets a flag:

    \b
        curl localhost:8100/mock/behave -d '{"token_delay": 0.1, "cut_after": 5}'
        curl localhost:8100/mock/behave -d '{"cut_after": null}'
        curl localhost:8100/mock/stats

    With --gpu-memory and --gpu-state it takes memory on simulated GPUs, which are created by `svc mock-gpus`. If the
    memory does not suffice, it ends with an error of CUDA and the exit code 1. As with vLLM, POST /sleep?level=1 frees
    the memory and aborts the requests in flight, POST /wake_up takes the memory again, and GET /is_sleeping reports
    whether the mock sleeps. A mock that sleeps refuses requests.

    /metrics counts the tokens that it has generated and the requests that it serves.
    /echo returns the request that reached it: method, headers, length and digest of the body.
    """
    from svc.mock.server import serve  # here, so that --help does not load gevent

    logging.configure()
    gpu = GpuOptions(gpu_state, gpu_memory, gpus, sleep_memory, load_time, load_rate, wake_time)
    serve(MockOptions(name, port, models, host, child, api_key, Behaviour(**flags), gpu))
