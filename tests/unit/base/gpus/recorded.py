"""The outputs of vendors' tools, as their versions print them on machines of different kinds."""

from pathlib import Path

OUTPUTS = Path(__file__).with_name("outputs")


def output(name: str) -> str:
    return (OUTPUTS / name).read_bytes().decode(errors="replace")
