"""Builds the package; what it contains stands in setup.cfg.

With SVC_COMPILE=1, mypyc compiles the router's hot path (ops/wheel/README.md). An editable install is never compiled: a
compiled module would hide later changes of its source.
"""

import os
import sys

from setuptools import Extension, setup

# The modules that every request runs through: alone, neither those of `http` nor those of `proxy` gain much. Others
# gain nothing, or cannot be compiled as they are: mypyc drops the class keywords of msgspec Structs, a class of plain
# Python cannot extend a compiled one, and compiled functions inside a function (`sockets`) are a reference cycle if one
# refers to another, which keeps large bodies in memory.
COMPILED = {
    "http": "head_cache request request_head_cache request_parser response_parser sse",
    "proxy": "client_connection exchange exchange_report forward response_stream response_writer swept_connection "
    "upstream",
    "telemetry": "token_count",
}
REQUIREMENTS = ["mypy[mypyc] >=2.4,<3", "msgspec"]
OPTIONS = ["--ignore-missing-imports", "--no-warn-unused-ignores"]  # of all packages, only msgspec has types that count


def extensions() -> list[Extension]:
    from mypyc.build import mypycify

    paths = [f"svc/router/{folder}/{name}.py" for folder, names in COMPILED.items() for name in names.split()]
    return mypycify([*OPTIONS, *paths], group_name="svc_router", debug_level="0")


if os.environ.get("SVC_COMPILE") != "1" or "editable_wheel" in sys.argv:
    setup()
elif {"bdist_wheel", "build_ext"}.intersection(sys.argv):
    setup(ext_modules=extensions())
else:  # pip asks for requirements and metadata first
    setup(setup_requires=REQUIREMENTS)
