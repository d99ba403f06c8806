"""The ends of logs that operators meet at night."""

import pytest

from svc.doctor.log_patterns import diagnose

KNOWN = [
    (
        "svc launch: port 8100 is taken by python3 -m http.server 8100 (pid 4711); stop it or choose another port",
        "port 8100 is taken by python3 -m http.server 8100 (pid 4711)",
    ),
    (
        "svc launch: cannot run 'vllm': not found in PATH (/usr/bin); install it or give its full path",
        "there is no command vllm",
    ),
    ("svc launch: cannot run './run.sh': ./run.sh is not executable; chmod +x it", "./run.sh is not executable"),
    ("svc: config/a.toml: port: 8101, needed for the babysitter, is in use", "config/a.toml: port: 8101"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "the GPU's memory is full"),
    ("RuntimeError: CUDA error: out of memory", "the GPU's memory is full"),
    (
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4 MiB on device 0: cudaMalloc failed: out of memory",
        "the GPU's memory is full",
    ),
    ("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", "KV cache"),
    ("ValueError: Free memory on device (3/24 GiB) on startup is less than desired GPU memory utilization", "KV cache"),
    (
        "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored",
        "the context is longer",
    ),
    ("RuntimeError: No CUDA GPUs are available", "it finds no GPU"),
    ("RuntimeError: CUDA error: invalid device ordinal", "a GPU that is not there"),
    (
        "OSError: /models/x is not a local folder and is not a valid model identifier listed on 'https://hf.co/models'",
        "the model is not where its path says",
    ),
    (
        "gguf_init_from_file_impl: failed to open GGUF file '/models/x.gguf' (No such file or directory)",
        "/models/x.gguf",
    ),
    ("main: exiting due to model loading error: failed to load model, '/models/y.gguf'", "/models/y.gguf"),
    (
        "FileNotFoundError: [Errno 2] No such file or directory: '/models/x/config.json'",
        "there is no /models/x/config.json",
    ),
    ("python3: can't open file '/opt/launch_server.py': [Errno 2] No such file or directory", "/opt/launch_server.py"),
    ("OSError: [Errno 98] Address already in use", "its port is taken"),
    (
        "ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): [Errno -2] Name or service not known",
        "huggingface.co cannot be reached",
    ),
    (
        "ERROR: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8100): address already in use",
        "its port is taken",
    ),
    ("ModuleNotFoundError: No module named 'vllm'", "no module vllm"),
    (
        "python3: Error while finding module specification for 'vllm.x' (ModuleNotFoundError: No module named 'vllm')",
        "no module vllm",
    ),
    ("api_server.py: error: unrecognized arguments: --fast", "unrecognized arguments: --fast"),
    ("OSError: [Errno 28] No space left on device", "a disk is full"),
    ("PermissionError: [Errno 13] Permission denied: '/models/x'", "it may not use /models/x"),
    (
        "./server: error while loading shared libraries: libcudart.so.12: cannot open shared object file",
        "libcudart.so.12",
    ),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "the machine's memory is full"),
    ("safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer", "damaged"),
    ("ValueError: something of its own", "ValueError: something of its own"),
]


@pytest.mark.parametrize(("line", "meaning"), KNOWN)
def test_a_known_end_of_a_log_has_a_meaning_a_cure_and_its_line(line, meaning):
    diagnosis = diagnose(["loading", line])
    assert diagnosis is not None
    assert meaning in diagnosis.meaning
    assert diagnosis.cure
    assert diagnosis.line == line


def test_the_cause_is_chosen_before_later_lines_about_the_failure():
    log = ["torch.OutOfMemoryError: CUDA out of memory.", "RuntimeError: Engine core initialization failed.", "bye"]
    assert diagnose(log).meaning == "the GPU's memory is full"


def test_the_last_known_line_is_chosen():
    log = ["OSError: [Errno 98] Address already in use", "ModuleNotFoundError: No module named 'x'"]
    assert diagnose(log).meaning.endswith("no module x")


def test_an_unknown_end_of_a_log_has_no_diagnosis():
    assert diagnose(["hello", "error 17", "the model is loading, no errors"]) is None
    assert diagnose([]) is None


def test_braces_in_a_log_are_shown_as_they_are():
    assert diagnose(["svc: {0} {x}"]).meaning == "{0} {x}"
