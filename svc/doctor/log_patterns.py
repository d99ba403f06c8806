"""The ends of logs that are known: what they mean, and what cures it. Pure.

The last line that is known counts: an engine tells its cause once and then, in
many words, that it failed.
"""

import dataclasses
import re
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True)
class Symptom:
    """`meaning` and `cure` may have the groups of `line`; `general` counts only where nothing better is found."""

    line: re.Pattern[str]
    meaning: str
    cure: str
    general: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    meaning: str
    cure: str
    line: str  # the evidence

    @property
    def edits(self) -> bool:
        """Whether the cure is in the instance's file."""
        return "[backend]" in self.cure


def _of(line: str, meaning: str, cure: str, general: bool = False) -> Symptom:
    return Symptom(re.compile(line), meaning, cure, general)


SYMPTOMS = (
    # svc's own words
    _of(
        r"svc launch: port (\d+) is taken by (.+) \(pid (\d+)\)",
        "port {0} is taken by {1} (pid {2})",
        "stop that, or choose another port",
    ),
    _of(r"svc launch: port (\d+) is taken", "port {0} is taken", "stop what has it, or choose another port"),
    _of(
        r"svc launch: cannot run '([^']+)': not found",
        "there is no command {0}",
        "install it, or correct [backend] command",
    ),
    _of(r"svc launch: cannot run '([^']+)': (\S+) is not executable", "{1} is not executable", "chmod +x {1}"),
    _of(r"svc launch: cannot run '([^']+)': (.*)", "{0} cannot be run: {1}", "correct [backend] command"),
    _of(r"^svc: (.+)$", "{0}", "correct that; then"),
    # memory
    _of(
        r"(?i)CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory|cudaMalloc failed",
        "the GPU's memory is full",
        "free the GPU (nvidia-smi shows who has it), or take another one in [backend] env, "
        "or ask for less: a smaller context, --gpu-memory-utilization",
    ),
    _of(
        r"No available memory for the cache blocks|Free memory on device.*less than desired",
        "the GPU has too little free memory for the KV cache",
        "free the GPU (nvidia-smi shows who has it), or change --gpu-memory-utilization in [backend] args",
    ),
    _of(
        r"max(?:imum)? (?:model|seq) len.*larger than the maximum number of tokens|KV cache is needed, which is larger",
        "the context is longer than the GPU's memory allows",
        "give a smaller --max-model-len in [backend] args",
    ),
    _of(
        r"MemoryError|Cannot allocate memory|std::bad_alloc",
        "the machine's memory is full",
        "free some (free -h, top), or run fewer instances here",
    ),
    # devices
    _of(
        r"(?i)no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver|no HPCC-capable device",
        "it finds no GPU",
        "look at nvidia-smi, and at the VISIBLE_DEVICES in [backend] env",
    ),
    _of(
        r"(?i)invalid device ordinal|device ordinal .* out of range",
        "it was given a GPU that is not there",
        "correct the VISIBLE_DEVICES in [backend] env",
    ),
    _of(
        r"CUDA driver version is insufficient|driver on your system is too old",
        "the GPU's driver is too old for it",
        "update the driver, or install an engine built for this one",
    ),
    # models
    _of(
        r"failed to open GGUF file '?([^'\s]+)|failed to load model[,:]? '([^']+)'",
        "the model {0}{1} cannot be opened",
        "correct the model's path in [backend]",
    ),
    _of(
        r"(?:Repo id must|is not a local folder and is not a valid model identifier|Can't load the configuration of)",
        "the model is not where its path says",
        "correct the model's path in [backend]",
    ),
    _of(
        r"(?:model path|model_path|--model(?:-path)?)\b.*(?:does not exist|not found|no such)",
        "the model is not where its path says",
        "correct the model's path in [backend]",
    ),
    _of(
        r"gated repo|401 Client Error.*huggingface",
        "the model may not be downloaded without a token",
        "put HF_TOKEN into the environment, or download the model and give its path",
    ),
    _of(
        r"couldn't connect to 'https://huggingface\.co'|huggingface\.co.*(?:Name or service|resolve)",
        "the model is not here, and huggingface.co cannot be reached",
        "download the model and give its path",
    ),
    _of(
        r"SafetensorError|MetadataIncompleteBuffer|tensor .* data is not within",
        "the model's files are damaged",
        "copy the model again",
    ),
    _of(r"can't open file '([^']+)'", "there is no {0}", "put it there, or correct the path in [backend]"),
    _of(
        r"(?:FileNotFoundError|No such file or directory).*?['\"]([^'\"]+)['\"]",
        "there is no {0}",
        "put it there, or correct the path in [backend]",
    ),
    # the system
    _of(r"(?i)address already in use|Errno 98", "its port is taken", "stop what has it, or choose another port"),
    _of(
        r"No module named '([^']+)'",
        "the Python that runs it has no module {0}",
        "install it there, or give the full path of the right python in [backend] command",
    ),
    _of(
        r"error: (unrecognized arguments: .*|the following arguments are required: .*)",
        "its command line is wrong: {0}",
        "correct [backend] args",
    ),
    _of(r"No space left on device", "a disk is full", "make room (df -h)"),
    _of(r"Too many open files", "it may not open more files", "raise its limit (ulimit -n)"),
    _of(
        r"(?:PermissionError|Permission denied).*?['\"]([^'\"]+)['\"]",
        "it may not use {0}",
        "make {0} readable for the user that supervisord runs as",
    ),
    _of(r"error while loading shared libraries: ([^:]+)", "the library {0} is missing", "install it"),
    _of(r"Segmentation fault|SIGSEGV", "it crashed", "look at its log, and for a newer version of it"),
    _of(r"^(\w+(?:\.\w+)*(?:Error|Exception): .+)$", "{0}", "its log has the rest", general=True),
)


def diagnose(log: Iterable[str]) -> Diagnosis | None:
    """What the end of a log means, if it is known."""
    general = None
    for line in reversed(list(log)):
        for symptom in SYMPTOMS:
            match = symptom.line.search(line)
            if match is None:
                continue
            groups = [group or "" for group in match.groups()]
            told = Diagnosis(symptom.meaning.format(*groups), symptom.cure.format(*groups), line.strip())
            if not symptom.general:
                return told
            general = general or told
            break
    return general
