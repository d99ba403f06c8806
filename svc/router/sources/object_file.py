"""The map of stored objects on disk: saved when the router stops, so that the next router knows where the objects are.

A HUP needs no file, because the map outlives the router's processes (see `balance/object_owners.py`).
"""

import logging
import struct
from pathlib import Path

from svc.base import private_files
from svc.router.balance.object_owners import FREE, ObjectOwners

log = logging.getLogger(__name__)
SUFFIX = ".objects"  # added to the path of the saved table
FORMAT = b"svc router objects 1\n"
ENTRY = struct.Struct("<QQ")  # the digests of the object's id and of its instance's name


class ObjectFile:
    """The file with the map. If it cannot be read or written, that is logged, and no request fails."""

    def __init__(self, state_file: Path, objects: ObjectOwners) -> None:
        self.path = state_file.with_name(state_file.name + SUFFIX)
        self._objects = objects

    def load(self) -> None:
        """Fill an empty map from the file, and remove the file: it would be outdated at the next HUP."""
        try:
            if len(self._objects) or not (data := self.path.read_bytes()).startswith(FORMAT):
                return
            for digest, owner in ENTRY.iter_unpack(data[len(FORMAT) :]):
                if digest != FREE:
                    self._objects.add_entry(digest, owner)
            self.path.unlink()
        except FileNotFoundError:
            pass
        except (OSError, struct.error) as error:
            log.warning("%s: cannot read the stored objects: %s", self.path, error)

    def save(self) -> None:
        """Write the map whole or not at all. Without objects, leave the file as it is."""
        entries = self._objects.entries()
        if not entries:
            return
        try:
            private_files.make_directory(self.path.parent)
            content = FORMAT + b"".join(ENTRY.pack(*entry) for entry in entries)
            private_files.write(self.path, content, durable=False)
        except OSError as error:
            log.warning("%s: cannot save the stored objects: %s", self.path, error.strerror)
