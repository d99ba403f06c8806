"""An empty machine: a new minimal Debian in its own namespaces, which is removed when it is closed."""

import shutil
import tempfile
from pathlib import Path

from tests.debian import program
from tests.documents.machine import UNSHARE, Session
from tests.waiting import is_free

SCRIPT = Path(__file__).with_name("empty.sh")
BLOCK_TIMEOUT_SECONDS = 900.0  # a block may install packages
PORTS = (8000, 8200, 8201, 8210, 8211, 18000)


def ports_in_use() -> list[int]:
    """Return the ports that the machine needs and that are in use: its network is that of this host."""
    return [port for port in PORTS if not is_free(port)]


class EmptyMachine(Session):
    """A minimal Debian, in which the address of the documents' `git clone` is `checkout`."""

    def __init__(self, checkout: Path) -> None:
        program("debootstrap", "debootstrap")
        self.directory = Path(tempfile.mkdtemp(prefix="empty-", dir="/var/tmp"))
        self.directory.chmod(0o755)
        super().__init__(
            [*UNSHARE, "bash", "--noprofile", "--norc", str(SCRIPT), str(self.directory), str(checkout)],
            BLOCK_TIMEOUT_SECONDS,
        )

    def close(self) -> None:
        super().close()  # the mounts end with the last process
        shutil.rmtree(self.directory)
