"""Environment variables of an instance's program that say what it needs of the GPUs, and when it sleeps. Pure.

`svc render` writes these variables into environment= of the program. supervisord's extension reads them there to decide
which instances fit beside each other, and `svc launch` makes only these GPUs visible to the instance. This module
imports nothing, because `svc launch` delays the start of every program.
"""

GPUS_VARIABLE = "SVC_GPUS"  # indexes of the GPUs, separated by commas
GPU_COUNT_VARIABLE = "SVC_GPU_COUNT"  # number of GPUs; the extension chooses them at each start
GPU_MEMORY_VARIABLE = "SVC_GPU_MEMORY"  # bytes on each GPU; not set: the whole GPU
ON_DEMAND_VARIABLE = "SVC_ON_DEMAND"  # "1": started when a request needs it
KEEP_VARIABLE = "SVC_KEEP"  # "1": never put to sleep to make room
MIN_AWAKE_VARIABLE = "SVC_MIN_AWAKE"  # seconds after an instance's start in which it does not make room for others
SLEEP_VARIABLE = "SVC_SLEEP"  # "vllm": put to sleep by the engine itself; not set: stopped
EXTENSION_VARIABLES = (  # read by supervisord's extension only
    GPU_COUNT_VARIABLE,
    ON_DEMAND_VARIABLE,
    KEEP_VARIABLE,
    MIN_AWAKE_VARIABLE,
    SLEEP_VARIABLE,
)
