"""What `git clone` would give now: the tracked files as they are, in a repository with one commit."""

import compileall
import shutil
import subprocess
from pathlib import Path

from tests.documents.blocks import ROOT

GIT = ("git", "-c", "user.name=Tests", "-c", "user.email=tests@example.com")


def checkout(place: Path) -> Path:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name, follow_symlinks=False)
    for words in ("init --quiet --initial-branch main", "add --all", "commit --quiet --message All"):
        subprocess.run([*GIT, *words.split()], cwd=place, check=True)
    compileall.compile_dir(place / "svc", quiet=2)  # once here, not by every program of every machine
    return place
