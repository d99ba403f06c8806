"""A trace on llama-swap, with mocks on simulated GPUs: its matrix allows every set of models that fits."""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demand.real import READY_SECONDS, TOKENS, first_byte, free_ports
from demand.simulation import SiteSettings
from demand.trace import Request
from svc.mock.gpu_state import GpuStateFile

MOCK = "{python} -m svc.mock --name {model} --models {model} --port ${{PORT}} --gpu-memory {memory} --gpus 0 "
FLAGS = "--gpu-state {state} --load-time {load} --tokens {tokens} --first-token-delay {first_token}"


class LlamaSwap:
    """One llama-swap, which is a program at `path`."""

    def __init__(self, path: str, root: Path, settings: SiteSettings, models: Sequence[str]) -> None:
        self.router_port, first, *_ = free_ports(20)
        self.gpus = GpuStateFile(root / "gpus.json")
        self.gpus.create(1, settings.gpu_memory)
        places = settings.gpu_memory // settings.model_memory
        names = [f"m{number}" for number in range(len(models))]
        sets = [" & ".join(chosen) for chosen in itertools.combinations(names, places)]
        config = {
            "healthCheckTimeout": 60,
            "startPort": first,
            "models": {model: {"cmd": self._command(settings, model), "concurrencyLimit": 5000} for model in models},
            "routing": {
                "router": {
                    "use": "matrix",
                    "settings": {
                        "matrix": {
                            "vars": dict(zip(names, models, strict=True)),
                            "sets": {f"set{number}": text for number, text in enumerate(sets)},
                        }
                    },
                }
            },
        }
        (root / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        arguments = [path, "--config", str(root / "config.yaml"), "--listen", f"127.0.0.1:{self.router_port}"]
        self._log = (root / "log").open("w+")
        self.process = subprocess.Popen(arguments, stdout=self._log, stderr=subprocess.STDOUT)

    def _command(self, settings: SiteSettings, model: str) -> str:
        command = MOCK.format(python=sys.executable, model=model, memory=settings.model_memory)
        flags = FLAGS.format(
            state=self.gpus.path, load=settings.load_seconds, tokens=TOKENS, first_token=settings.first_token
        )
        return command + flags

    def start(self, model: str) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + READY_SECONDS
        while first_byte(self.router_port, Request(0, model, 0)) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                sys.exit(f"llama-swap does not answer: {self._log.read()[-2000:]}")
            time.sleep(0.2)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        self._log.close()

    def events(self) -> list[dict[str, Any]]:
        """Return what the mocks did with the GPU, in order."""
        return self.gpus.events()


@contextmanager
def running(path: str, settings: SiteSettings, models: Sequence[str]) -> Iterator[LlamaSwap]:
    """Yield a llama-swap that answers."""
    with tempfile.TemporaryDirectory() as directory:
        swap = LlamaSwap(path, Path(directory), settings, models)
        try:
            swap.start(models[0])
            yield swap
        finally:
            swap.end()
