"""Sites with real models: llama.cpp's server with Gemma 3 270M."""

import importlib.util
import os
import re
from collections.abc import Sequence

import pytest

from tests.e2e.sites import ROOT, Site, http
from tests.waiting import free_port_pair, wait_until

MODEL = "gemma-3-270m"
missing = importlib.util.find_spec("xllamacpp") is None
needs_llama = pytest.mark.skipif(missing and not os.environ.get("CI"), reason="the llama extra is not installed")


def start_llamas(site: Site, slots: int | None = None, settings: Sequence[str] = ()) -> None:
    """Start the two instances of config/llama at free ports. `settings` are more lines for [babysitter]."""
    for toml in sorted((ROOT / "config" / "llama").glob("*.toml")):
        text = toml.read_text()
        fixed = re.search(r"^port = (\d+)$", text, re.M)[1]
        text = text.replace(fixed, str(free_port_pair()))
        if slots is not None:
            text = re.sub(r'"--parallel", "\d+"', f'"--parallel", "{slots}"', text)
        text = text.replace("[babysitter]\n", "\n".join(["[babysitter]", *settings, ""]))
        (site.root / "config" / toml.name).write_text(text)
    site.svc("up", timeout=180)


def await_proofs(site: Site) -> None:
    """Wait until the router uses both instances, and knows that their engines continue answers."""

    def proven() -> set[str]:
        services = http.get(f"{site.router}/services", timeout=5).json()["services"]
        return {s["name"] for s in services if s["healthy"] and s["metadata"].get("continues")}

    wait_until(
        lambda: proven() == {"llama1-server", "llama2-server"}, timeout=120, description="both to continue answers"
    )
