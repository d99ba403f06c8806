"""The file with the models that an instance on demand had when it last ran, so that routers can wake it for them."""

import dataclasses
import logging
import os
import stat
from pathlib import Path
from typing import Annotated, Any

import msgspec

from svc.base import private_files
from svc.protocol.service import MAX_MODELS, is_model_id

log = logging.getLogger(__name__)
MAX_FILE_BYTES = 1 << 20
MAX_LOAD_SECONDS = 10.0**6


class LastLife(msgspec.Struct, frozen=True):
    """What is kept of an instance's last run. `command` is a digest of the command that it was started with."""

    models: tuple[dict[str, Any], ...] = ()
    load_seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_LOAD_SECONDS)] | None = None
    command: str = ""


@dataclasses.dataclass(slots=True)
class LastModelsFile:
    """The file at `path`. Its content is checked, because a disk may have been full, or a user may have edited it."""

    path: Path
    _last: LastLife | None = None  # what the file contains, if this process has read or written it
    _problem: str = ""

    def read(self) -> LastLife:
        """Return the content of the file. If it cannot be used, log why and return an empty LastLife."""
        try:
            life = msgspec.json.decode(self._content(), type=LastLife)
            valid = [model for model in life.models if is_model_id(model.get("id"))]
            if len(valid) != len(life.models) or len(valid) > MAX_MODELS:
                raise ValueError("a model has no valid id" if len(valid) <= MAX_MODELS else "too many models")
        except FileNotFoundError:
            return LastLife()
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s: cannot use it: %s; the models are known again after the next start", self.path, error)
            return LastLife()
        self._last = life
        return life

    def write(self, life: LastLife) -> None:
        """Replace the file if its content differs. After a failure, which is logged once, the next call tries again."""
        if life == self._last:
            return
        problem = ""
        try:
            private_files.make_directory(self.path.parent)
            private_files.write(self.path, msgspec.json.encode(life), durable=False)
            self._last = life
        except (OSError, TypeError, ValueError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            log.warning("%s: cannot write it: %s; after a restart, a request may not wake it", self.path, problem)
        self._problem = problem

    def _content(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would block otherwise
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no file")
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        return content
