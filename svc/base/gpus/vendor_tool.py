"""The contract of a vendor's tool: which commands report the GPUs, and how their outputs are read. Pure.

To add a vendor: write a module with a `TOOL` beside this one, and add it to `reading.TOOLS`; add the variable that
makes GPUs visible to `svc.supervision.launch`; test the reader with recorded outputs (tests/unit/base/gpus/outputs).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from svc.base.gpus.gpu import Gpu

Parse = Callable[[Sequence[str]], list[Gpu]]


class Query(NamedTuple):
    """One run of the tool."""

    arguments: tuple[str, ...]
    is_constant: bool = False  # the output is the same until the machine restarts, so one run is enough


class VendorTool(NamedTuple):
    """A tool of a vendor and its reader.

    `parse` gets the outputs of the queries in the same order, and raises ValueError if it cannot read the first one.
    The others are optional: the output of a query that failed is "", and one that cannot be read adds nothing.
    """

    program: str
    queries: tuple[Query, ...]
    parse: Parse
