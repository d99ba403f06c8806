"""The engines that are tested: how each is installed and started, and which APIs it serves."""

from dataclasses import dataclass
from pathlib import Path

from svc.mock import llama
from tests.conformance.environments import Environment, python

MODEL = "demo"
PATHS = (
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
)


@dataclass(frozen=True)
class Engine:
    """`command` has the fields PORT and MODEL_FILE; `paths` are those of PATHS that the engine serves."""

    title: str
    environment: Environment | None  # None: that of the tests
    command: tuple[str, ...]
    paths: tuple[str, ...]
    metadata: str = ""

    def arguments(self, port: int) -> list[str]:
        file = str(llama.prepare()[0]) if any("MODEL_FILE" in word for word in self.command) else ""
        words = [word.replace("PORT", str(port)).replace("MODEL_FILE", file) for word in self.command]
        return [str(self.environment.programs / words[0]), *words[1:]] if self.environment else words


LITSERVE_PROGRAM = Path(__file__).parent / "programs" / "litserve_engine.py"
# PyPI has only the source of llama-cpp-python: compiling it takes a quarter of an hour, without what no test uses.
CMAKE_ARGS = (
    "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF"
)
ENGINES = [
    Engine(
        "llama.cpp (xllamacpp)",
        None,
        ("svc", "llama", "--port", "PORT", "--alias", MODEL, "--threads", "1", "--ctx-size", "2048", "--embeddings"),
        PATHS,
    ),
    Engine(
        "llama-cpp-python",
        python("llama-cpp-python[server]==0.3.36", CMAKE_ARGS=CMAKE_ARGS),
        # with the template of the model's file, the model of the tests mostly ends its answer at once
        ("python", "-m", "llama_cpp.server", "--model", "MODEL_FILE", "--chat_format", "gemma")
        + ("--interrupt_requests", "false", "--port", "PORT", "--model_alias", MODEL),
        ("/v1/models", "/v1/chat/completions", "/v1/completions"),
    ),
    Engine(
        "LitServe",
        python("litserve==0.2.19"),
        ("python", str(LITSERVE_PROGRAM), "PORT"),
        ("/v1/chat/completions",),
        metadata=f'models = ["{MODEL}"]',
    ),
]
