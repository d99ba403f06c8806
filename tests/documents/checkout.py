"""A copy of the working tree like that of `git clone`: the tracked files, in a repository with one commit."""

import compileall
import shutil
import subprocess
from pathlib import Path

from tests.documents.blocks import ROOT

GIT = ("git", "-c", "user.name=Tests", "-c", "user.email=tests@example.com")


def checkout(directory: Path) -> Path:
    """Copy the tracked files into a directory and commit them; return the directory."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    for command in ("init --quiet --initial-branch main", "add --all", "commit --quiet --message All"):
        subprocess.run([*GIT, *command.split()], cwd=directory, check=True)
    compileall.compile_dir(directory / "svc", quiet=2)  # once, so that no program of any machine has to
    return directory
