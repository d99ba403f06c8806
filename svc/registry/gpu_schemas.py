"""JSON Schemas of reports about GPUs, with the limits of svc.protocol.gpu_report."""

from svc.base.gpus import gpu
from svc.protocol.gpu_report import MAX_AGE_INTERVALS, MAX_INTERVAL_SECONDS, MIN_INTERVAL_SECONDS
from svc.protocol.openapi import TIMESTAMP, Schema, closed_object, nullable, ref

BYTES: Schema = {"type": "integer", "minimum": 0, "maximum": gpu.MAX_BYTES, "default": 0}
TEXT: Schema = {"type": "string", "maxLength": gpu.MAX_TEXT_LENGTH, "default": ""}
PID: Schema = {"type": "integer", "minimum": 0, "maximum": gpu.MAX_PID}
PROCESS: Schema = {
    "pid": PID,
    "memory": nullable({**BYTES, "default": None, "description": "bytes on this GPU"}),
    "instance": {**TEXT, "description": "the instance whose process it is"},
    "command": {**TEXT, "maxLength": gpu.MAX_COMMAND_LENGTH},
}
GPU: Schema = {
    "index": {**PID, "maximum": gpu.MAX_INDEX},
    "uuid": TEXT,
    "name": TEXT,
    "memory_total": {**BYTES, "description": "0: the vendor's tool does not report it"},
    "memory_used": BYTES,
    "utilization": nullable({"type": "number", "minimum": 0, "maximum": 1}),
    "temperature": nullable({"type": "number", "minimum": -300, "maximum": 10_000, "description": "degrees Celsius"}),
    "power": nullable({"type": "number", "minimum": 0, "maximum": 1e6, "description": "watts"}),
    "errors": nullable({**BYTES, "default": None, "description": "errors that the GPU could not correct"}),
    "fault": {**TEXT, "description": "what the vendor's tool says of a GPU that does not work"},
    "processes": {
        "type": "array",
        "maxItems": gpu.MAX_GPU_PROCESSES,
        "items": {"type": "object", "properties": PROCESS, "required": ["pid"]},
    },
}
REPORT: Schema = {
    "hostname": {"type": "string", "minLength": 1, "maxLength": 253},
    "tool": {**TEXT, "description": "the vendor's tool"},
    "gpus": {
        "type": "array",
        "maxItems": gpu.MAX_GPUS,
        "items": {"type": "object", "properties": GPU, "required": ["index"]},
    },
    "problem": {
        "type": "string",
        "maxLength": gpu.MAX_PROBLEM_LENGTH,
        "default": "",
        "description": "why the tool reports no GPU, or what it complains about",
    },
    "interval": {
        "type": "number",
        "minimum": MIN_INTERVAL_SECONDS,
        "maximum": MAX_INTERVAL_SECONDS,
        "default": 5,
        "description": f"seconds until the next report; after {MAX_AGE_INTERVALS} intervals without one, the report is "
        "dropped",
    },
}
SCHEMAS: Schema = {
    "HostGpus": {
        "type": "object",
        "properties": REPORT,
        "required": ["hostname", "tool"],
        "examples": [
            {
                "hostname": "gpu7",
                "tool": "nvidia-smi",
                "gpus": [{"index": 0, "memory_total": 85519761408, "memory_used": 73623666688, "utilization": 0.87}],
            }
        ],
    },
    "ListedHost": closed_object(
        {
            **REPORT,
            "service": {"type": "string", "description": "the babysitter that reports the host"},
            "age": {"type": "number", "minimum": 0, "description": "seconds since the report"},
        }
    ),
    "Hosts": closed_object({"hosts": {"type": "array", "items": ref("ListedHost")}, "timestamp": TIMESTAMP}),
}
