"""The site of the documents: built without a warning, complete, and without links to other machines' files."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from svc.cli.main import svc
from svc.config.instance import fields, schema
from svc.registry.app import ROUTES
from svc.settings import SECTIONS
from tests.e2e.sites import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the site as bin/docs.sh does, and return its directory."""
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-n",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return out


@pytest.fixture(scope="module")
def reference():
    config = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(config)
    config.loader.exec_module(module)
    return module


def text(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text())


def test_every_document_is_on_the_site(site):
    for document in (ROOT / "docs").glob("*.md"):
        assert (site / document.with_suffix(".html").name).exists()


def test_the_site_loads_nothing_from_another_machine(site):
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text()):
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag), (page, tag)


def test_the_reference_shows_commands_labels_and_access(site):
    pages = {page.stem: text(page) for page in (site / "reference").glob("*.html")}
    assert re.search(r"-h, --help +Show this message", pages["cli"])
    assert not re.search(r"^ +--help +Show", pages["cli"], re.M)
    metrics = " ".join(pages["metrics"].split())
    for row in (
        "svc_router_requests_total counter model, status Requests that ended.",
        "svc_registry_removals_total counter reason Services removed",
        "svc_router_retries_total counter Attempts after the first",
        "svc_router_ttft_seconds histogram model Of streams",
        "svc_babysitter_state gauge state 1 for",
    ):
        assert row in metrics
    for access in {access for _, _, access, _ in ROUTES}:
        assert f"{access}: " in pages["http"]


def test_the_reference_has_every_command_setting_key_and_endpoint(site):
    pages = {page.stem: text(page) for page in (site / "reference").glob("*.html")}
    context = click.Context(svc)
    for name in svc.list_commands(context):
        if svc.get_command(context, name).hidden:
            continue
        assert f"svc {name}" in pages["cli"]
    for section, cls in SECTIONS.items():
        assert f"[{section}]" in pages["settings"]
        for name in cls.__dataclass_fields__:
            assert name in pages["settings"]
    for known in (
        schema.TOP_LEVEL,
        schema.BABYSITTER,
        schema.RESOURCES,
        *(known for _, known in schema.BACKENDS.values()),
    ):
        assert all(key in pages["toml"] for key in known)
    for _, path, _, _ in ROUTES:
        assert path.replace("<", "&lt;").replace(">", "&gt;") in pages["http"]
    for path in ("/v1/models", "/ui/stream", "/ui/drain/", "/info"):
        assert path in pages["http"]


def test_the_reference_has_every_metric_of_documents_and_rules(site):
    metrics = text(site / "reference" / "metrics.html")
    for file in (ROOT / "docs" / "MONITORING.md", ROOT / "ops" / "prometheus" / "svc.rules.yml"):
        for name in set(re.findall(r"\bsvc_(?:router|registry|babysitter)_[a-z_]+[a-z]\b", file.read_text())):
            assert re.sub(r"_(bucket|sum|count)$", "", name) in metrics, f"{file.name}: {name}"


def test_an_undescribed_key_or_command_fails_the_build(reference, monkeypatch):
    monkeypatch.setitem(schema.TOP_LEVEL, "mystery", fields.Field(fields.name))
    with pytest.raises(reference.Undocumented, match="mystery"):
        list(reference.toml())
    monkeypatch.setattr(svc.get_command(click.Context(svc), "up"), "help", None)
    with pytest.raises(reference.Undocumented, match="svc up"):
        list(reference.cli())


def test_a_link_to_a_file_outside_the_site_becomes_a_path(reference):
    assert (
        reference.without_outer_links("see [the notes](../tests/README.md#more).")
        == "see the notes (`tests/README.md`)."
    )
    assert reference.without_outer_links("[`a.toml`](../config/a.toml) [b](UI.md)") == "`a.toml` [b](UI.md)"
