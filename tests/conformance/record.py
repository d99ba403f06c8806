"""The record of what was tested, in tested.json, from which docs/generated_tables.py writes the tables of CLIENTS.md.

Tests write it only with SVC_RECORD_CONFORMANCE=1.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORD = Path(__file__).parent / "tested.json"


def write(table: str, name: str, fields: Mapping[str, Any]) -> None:
    """Replace fields in the row of a client or an engine; several processes may do so at the same time."""
    if not os.environ.get("SVC_RECORD_CONFORMANCE"):
        return
    with RECORD.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        tables = json.loads(file.read() or "{}")
        tables.setdefault(table, {}).setdefault(name, {}).update(fields)
        file.truncate(0)
        file.write(json.dumps(tables, indent=2, sort_keys=True) + "\n")
