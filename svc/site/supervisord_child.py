"""supervisord as this process's own child, in the foreground."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from svc.base.prctl import die_with_parent
from svc.settings import ENVIRONMENT_VARIABLES
from svc.site import supervisord_process

LEAVING = 60.0  # seconds that it may need, its programs' included
Words = Callable[[bytes], object]


@contextlib.contextmanager
def supervisord(conf: Path, environ: Mapping[str, str], words: Words) -> Iterator[subprocess.Popen[bytes]]:
    """Runs in a session of its own, so that Ctrl-C comes to us alone; ends with us, however we end.

    `words` gets what it prints, and what its programs print that log to its stdout: through a
    pipe, as /dev/stdout cannot be opened where it is a socket.
    """
    me = os.getpid()
    process = subprocess.Popen(
        [str(supervisord_process.program()), "-n", "-c", str(conf.absolute())],
        env={key: value for key, value in environ.items() if key not in ENVIRONMENT_VARIABLES},  # the files say it all
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM, me),
    )
    assert process.stdout
    copying = threading.Thread(target=_copy, args=(process.stdout, words), daemon=True)
    copying.start()
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            process.kill()
        copying.join(1)


def _copy(source: IO[bytes], words: Words) -> None:
    while data := source.read1(65536):  # type: ignore[attr-defined]
        words(data)
