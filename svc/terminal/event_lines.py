"""Prints events of the registry as lines for people, or as JSON."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from rich.text import Text

from svc.protocol.event import EVENT_KINDS
from svc.protocol.health_state import BAD, GOOD, WARNING
from svc.terminal.console import Console
from svc.terminal.output import echo_json

COLOURS = {GOOD: "green", WARNING: "yellow", BAD: "red"}
MAX_SERVICE_COLUMNS = 32
KIND_COLUMNS = max(map(len, EVENT_KINDS))

Event = Mapping[str, Any]  # an event as GET /events returns it


class EventPrinter:
    """Prints events in aligned columns on the console, or as one JSON object per line."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._service_columns = 0  # the width of the longest service name so far

    def print(self, events: Collection[Event]) -> None:
        """Print these events."""
        widths = [self._service_columns, *(len(event["service"]) for event in events)]
        self._service_columns = min(MAX_SERVICE_COLUMNS, max(widths))
        for event in events:
            if self._as_json:
                echo_json(event)
            else:
                self._console.print_line(event_line(event, self._service_columns))


def event_line(event: Event, service_columns: int = 0) -> Text:
    """Return an event as a line for people, with its time in the local time zone."""
    line = Text(f"{_local_time(event['time'])}  ", style="dim")
    line.append(f"{event['kind']:{KIND_COLUMNS}} ", style=COLOURS.get(event["level"], ""))
    line.append(f"{event['service']:{service_columns}}", style="not dim bold")
    if event["message"]:
        line.append(f"  {event['message']}", style="not dim")
    if event["source"] != "registry":
        line.append(f"  ({event['source']})")
    line.rstrip()
    return line


def _local_time(timestamp: str) -> str:
    """Return the timestamp in the local time zone; return a text that is not a timestamp unchanged."""
    try:
        return f"{datetime.fromisoformat(timestamp.replace('Z', '+00:00')).astimezone():%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return timestamp
