"""Patterns of known log lines, with the meaning of each line and the cure of the failure. Pure.

The last line that matches a pattern decides. The lines that an engine logs after the cause usually match no pattern.
"""

import dataclasses
import re
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class LogPattern:
    """A pattern of a log line. `meaning` and `cure` may refer to the groups of the pattern `line`.

    A `general` pattern is used only if no other pattern matches.
    """

    line: re.Pattern[str]
    meaning: str
    cure: str
    general: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class LogDiagnosis:
    meaning: str
    cure: str
    line: str  # the log line that matched

    @property
    def edits(self) -> bool:
        """Whether the cure is an edit of the instance's TOML."""
        return "[backend]" in self.cure


def _pattern(line: str, meaning: str, cure: str, general: bool = False) -> LogPattern:
    return LogPattern(re.compile(line), meaning, cure, general)


LOG_PATTERNS = (
    # svc itself reports an error.
    _pattern(
        r"svc launch: port (\d+) is taken by (.+) \(pid (\d+)\)",
        "port {0} is taken by {1} (pid {2})",
        "stop that, or choose another port",
    ),
    _pattern(r"svc launch: port (\d+) is taken", "port {0} is taken", "stop what has it, or choose another port"),
    _pattern(
        r"svc launch: cannot run '([^']+)': not found",
        "there is no command {0}",
        "install it, or correct [backend] command",
    ),
    _pattern(r"svc launch: cannot run '([^']+)': (\S+) is not executable", "{1} is not executable", "`chmod +x {1}`"),
    _pattern(r"svc launch: cannot run '([^']+)': (.*)", "{0} cannot be run: {1}", "correct [backend] command"),
    _pattern(r"^svc: (there is no command svc .+)$", "{0}", "correct [backend] command"),
    _pattern(r"^svc: (.+)$", "{0}", "correct that; then"),
    # There is not enough memory.
    _pattern(
        r"(?i)CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory|cudaMalloc failed",
        "the GPU's memory is full",
        "free the GPU (`svc gpus` shows what holds it), or take another one in [resources] or [backend] "
        "env, or ask for less: a smaller context, --gpu-memory-utilization",
    ),
    _pattern(
        r"No available memory for the cache blocks|Free memory on device.*less than desired",
        "the GPU has too little free memory for the KV cache",
        "free the GPU (`svc gpus` shows what holds it), or change --gpu-memory-utilization in [backend] args",
    ),
    _pattern(
        r"max(?:imum)? (?:model|seq) len.*larger than the maximum number of tokens|KV cache is needed, which is larger",
        "the context is longer than the GPU's memory allows",
        "give a smaller --max-model-len in [backend] args",
    ),
    _pattern(
        r"MemoryError|Cannot allocate memory|std::bad_alloc",
        "the machine's memory is full",
        "free some (`free -h`, `top`), or run fewer instances here",
    ),
    # A GPU or its driver is missing or broken.
    _pattern(
        r"(?i)no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver|no HPCC-capable device",
        "it finds no GPU",
        "look at `nvidia-smi`, and at the VISIBLE_DEVICES in [backend] env",
    ),
    _pattern(
        r"(?i)invalid device ordinal|device ordinal .* out of range",
        "it was given a GPU that is not there",
        "correct the VISIBLE_DEVICES in [backend] env",
    ),
    _pattern(
        r"CUDA driver version is insufficient|driver on your system is too old",
        "the GPU's driver is too old for it",
        "update the driver, or install an engine built for this one",
    ),
    # The model cannot be loaded.
    _pattern(
        r"failed to open GGUF file '?([^'\s]+)|failed to load model[,:]? '([^']+)'",
        "the model {0}{1} cannot be opened",
        "correct the model's path in [backend]",
    ),
    _pattern(
        r"(?:Repo id must|is not a local folder and is not a valid model identifier|Can't load the configuration of)",
        "the model is not where its path says",
        "correct the model's path in [backend]",
    ),
    _pattern(
        r"(?:model path|model_path|--model(?:-path)?)\b.*(?:does not exist|not found|no such)",
        "the model is not where its path says",
        "correct the model's path in [backend]",
    ),
    _pattern(
        r"gated repo|401 Client Error.*huggingface",
        "the model may not be downloaded without a token",
        "put HF_TOKEN into the environment, or download the model and give its path",
    ),
    _pattern(
        r"couldn't connect to 'https://huggingface\.co'|huggingface\.co.*(?:Name or service|resolve)",
        "the model is not here, and huggingface.co cannot be reached",
        "download the model and give its path",
    ),
    _pattern(
        r"SafetensorError|MetadataIncompleteBuffer|tensor .* data is not within",
        "the model's files are damaged",
        "copy the model again",
    ),
    _pattern(r"can't open file '([^']+)'", "there is no {0}", "put it there, or correct the path in [backend]"),
    _pattern(
        r"(?:FileNotFoundError|No such file or directory).*?['\"]([^'\"]+)['\"]",
        "there is no {0}",
        "put it there, or correct the path in [backend]",
    ),
    # The program cannot run here, or it crashes.
    _pattern(r"(?i)address already in use|Errno 98", "its port is taken", "stop what has it, or choose another port"),
    _pattern(
        r"No module named '([^']+)'",
        "the Python that runs it has no module {0}",
        "install it there, or give the full path of the right python in [backend] command",
    ),
    _pattern(
        r"error: (unrecognized arguments: .*|the following arguments are required: .*)",
        "its command line is wrong: {0}",
        "correct [backend] args",
    ),
    _pattern(r"No space left on device", "a disk is full", "make room (`df -h`)"),
    _pattern(r"Too many open files", "it may not open more files", "raise its limit (`ulimit -n`)"),
    _pattern(
        r"(?:PermissionError|Permission denied).*?['\"]([^'\"]+)['\"]",
        "it may not use {0}",
        "make {0} readable for the user that supervisord runs as",
    ),
    _pattern(r"error while loading shared libraries: ([^:]+)", "the library {0} is missing", "install it"),
    _pattern(r"Segmentation fault|SIGSEGV", "it crashed", "look at its log, and for a newer version of it"),
    _pattern(r"^(\w+(?:\.\w+)*(?:Error|Exception): .+)$", "{0}", "its log has the rest", general=True),
)


def diagnose(log: Iterable[str]) -> LogDiagnosis | None:
    """Return the diagnosis of the last lines of a log, or None if no pattern matches."""
    general = None
    for line in reversed(list(log)):
        for pattern in LOG_PATTERNS:
            match = pattern.line.search(line)
            if match is None:
                continue
            groups = [group or "" for group in match.groups()]
            diagnosis = LogDiagnosis(pattern.meaning.format(*groups), pattern.cure.format(*groups), line.strip())
            if not pattern.general:
                return diagnosis
            general = general or diagnosis
            break
    return general
