"""The entries of the hashes `loads` and `gpus` (see redis_keys): what services report every few seconds. Pure."""

from collections.abc import Iterator, Mapping

import msgspec

from svc.protocol.gpu_report import GpuReport
from svc.protocol.instance_load import InstanceLoad

_decode_load = msgspec.json.Decoder(InstanceLoad).decode
_decode_gpus = msgspec.json.Decoder(GpuReport).decode


def loads(entries: Mapping[bytes, bytes]) -> Iterator[tuple[str, InstanceLoad, float]]:
    """Yield name, load and time of the report, sorted by name."""
    for name, at, load in _split(entries):
        yield name, _decode_load(load), at


def gpus(entries: Mapping[bytes, bytes]) -> Iterator[tuple[str, GpuReport, float]]:
    """Yield name, report and time, sorted by name; skip what a registry of another version of svc has stored."""
    for name, at, report in _split(entries):
        try:
            decoded = _decode_gpus(report)
        except msgspec.MsgspecError:
            continue
        yield name, decoded, at


def _split(entries: Mapping[bytes, bytes]) -> Iterator[tuple[str, float, bytes]]:
    for name, entry in sorted(entries.items()):
        at, _, report = entry.partition(b" ")
        yield name.decode(), float(at), report
