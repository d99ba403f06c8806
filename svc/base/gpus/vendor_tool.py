"""The interface of a vendor's tool: which commands report the GPUs, and how their outputs are read. Pure.

To add a vendor: write a module with a `TOOL` beside this one, and add it to `reading.TOOLS`; add the variable that
makes GPUs visible to `svc.supervision.launch`; test the reader with recorded outputs (tests/unit/base/gpus/outputs).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from svc.base.gpus.gpu import Gpu

Parse = Callable[[Sequence[str]], list[Gpu]]


class Query(NamedTuple):
    """The arguments of one run of the tool."""

    arguments: tuple[str, ...]
    is_constant: bool = False  # the output is the same until the machine restarts, so one run is enough


class VendorTool(NamedTuple):
    """A vendor's tool: its program, its queries, and the function that parses their outputs.

    `parse` gets the outputs in the order of the queries, and raises ValueError if it cannot read the first. The other
    outputs are optional: that of a query that failed is "", and `parse` ignores one that it cannot read.
    """

    program: str
    queries: tuple[Query, ...]
    parse: Parse
