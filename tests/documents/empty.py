"""An empty machine: a minimal Debian of its own, entered in namespaces; nothing of it is left when it is closed."""

import shutil
import tempfile
from pathlib import Path

from tests.debian import program
from tests.documents.machine import UNSHARE, Session
from tests.waiting import is_free

SCRIPT = Path(__file__).with_name("empty.sh")
PATIENCE = 900.0  # seconds for one block: it may be installing
PORTS = (8000, 8200, 8201, 8210, 8211, 18000)


def taken() -> list[int]:
    """Its network is this machine's."""
    return [port for port in PORTS if not is_free(port)]


class Empty(Session):
    """`checkout` is what git clones there from the documents' address."""

    def __init__(self, checkout: Path) -> None:
        program("debootstrap", "debootstrap")
        self.place = Path(tempfile.mkdtemp(prefix="empty-", dir="/var/tmp"))
        self.place.chmod(0o755)
        super().__init__(
            [*UNSHARE, "bash", "--noprofile", "--norc", str(SCRIPT), str(self.place), str(checkout)], PATIENCE
        )

    def close(self) -> None:
        super().close()  # the mounts go with the last process
        shutil.rmtree(self.place)
