"""The commands, scripts, files, variables and links that the documents name exist; their tables are current."""

import dataclasses
import importlib
import re

import click
import pytest

from svc.cli.main import svc
from svc.settings import ENVIRONMENT_VARIABLES, SECTIONS
from svc.site.status import ProgramStatus, SiteStatus
from tests.e2e.sites import ROOT

DOCUMENTS = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "tests" / "README.md"])
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@documents
def test_linked_files_exist(document):
    for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / link).exists(), link


@documents
def test_commands_and_scripts_exist(document):
    text = document.read_text()
    commands = set(svc.list_commands(click.Context(svc)))
    assert set(re.findall(r"(?:^|`|bin/)svc ([a-z]+)", text, re.M)) <= commands
    for script in re.findall(r"bin/(\w+\.sh)", text):
        assert (ROOT / "bin" / script).exists(), script


@documents
def test_flags_of_svc_exist(document):
    pattern = r"(?:^|`|bin/)svc ([a-z]+)(?: ([a-z]+))?[^`\n|]*? (--[a-z-]+)"
    for name, subcommand, flag in re.findall(pattern, document.read_text(), re.M):
        command = svc.get_command(click.Context(svc), name)
        if isinstance(command, click.Group):
            command = command.commands[subcommand]
        flags = {flag for option in command.params for flag in option.opts} | {"--help"}
        assert flag in flags, f"{name} {flag}"


@documents
def test_variables_are_read(document):
    variables = set(re.findall(r"\b(?:REGISTRY|ROUTER|BABYSITTER|LAUNCH)_[A-Z_]+\b", document.read_text()))
    assert variables <= set(ENVIRONMENT_VARIABLES)


@documents
def test_toml_files_that_are_named_exist(document):
    for path in re.findall(r"(?:up|babysitter\.sh|CONFIGS=\")[^`\n]*?(config/[\w/]+\.toml)", document.read_text()):
        assert (ROOT / path).exists(), path


def test_one_document_has_the_upgrade_procedure_and_others_link_to_it():
    guide = "DISTRIBUTED_DEPLOYMENT_README.md"
    for document in DOCUMENTS:
        for heading, body in re.findall(r"^##+ ([^\n]*)\n(.*?)(?=^##+ |\Z)", document.read_text(), re.M | re.S):
            if re.search(r"upgrade|new version", heading, re.I):
                assert document.name == guide or f"({guide}#a-new-version)" in body, heading
                assert document.name == guide or "```" not in body, heading


@pytest.mark.parametrize("pattern", [r"`svc ([a-z]+)", r"`([A-Z_]+)`", r"\]\(((?:docs|ops)/[^)#]+)"])
def test_the_translated_readme_names_the_same_commands_variables_and_documents(pattern):
    original, translated = (
        set(re.findall(pattern, (ROOT / name).read_text())) for name in ("README.md", "README.zh-CN.md")
    )
    assert {name.replace("API.zh-CN.md", "API.md") for name in translated} == original


@pytest.fixture
def generated_tables(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("generated_tables")


def test_generated_tables_are_current(generated_tables):
    stale = [document.name for document in generated_tables.stale_documents()]
    assert not stale, "run python docs/generated_tables.py --write"


def test_every_generated_table_is_in_one_document(generated_tables):
    texts = [document.read_text() for document in DOCUMENTS]
    names = [match["name"] for text in texts for match in generated_tables.MARKED.finditer(text)]
    assert sorted(names) == sorted(generated_tables.TABLES)


def test_the_generator_reports_and_replaces_a_stale_table(generated_tables, tmp_path, monkeypatch):
    document = tmp_path / "docs" / "LOGS.md"
    document.parent.mkdir()
    document.write_text("# Logs\n\n<!-- generated: log settings -->\nstale\n<!-- end of generated -->\nend\n")
    monkeypatch.setattr(generated_tables, "DOCS", document.parent)
    assert generated_tables.main([]) == 1
    assert generated_tables.main(["--write"]) == 0
    text = document.read_text()
    assert "stale" not in text
    assert text.startswith("# Logs\n")
    assert text.endswith("-->\nend\n")
    assert "| `backups` |  | `5` |" in text
    assert generated_tables.main([]) == 0


def test_every_field_of_the_status_is_documented():
    text = (ROOT / "docs" / "STATUS.md").read_text()
    fields = [field.name for cls in (SiteStatus, ProgramStatus) for field in dataclasses.fields(cls)]
    assert sorted(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", text, re.M)) == sorted(fields)


@documents
def test_settings_in_examples_exist(document):
    for block in re.findall(r"```toml\n(.*?)```", document.read_text(), re.S):
        for section, body in re.findall(r"\[(registry|router|launch|logs|systemd|nginx)\]\n((?:\w.*\n?)*)", block):
            keys = set(re.findall(r"^(\w+) =", body, re.M))
            assert keys <= set(SECTIONS[section].__dataclass_fields__), f"[{section}]"


def test_every_alert_is_in_the_guide():
    rules = (ROOT / "ops" / "prometheus" / "svc.rules.yml").read_text()
    guide = (ROOT / "docs" / "MONITORING.md").read_text()
    severities = re.findall(r"alert: (\w+)$.*?severity: (\w+)", rules, re.M | re.S)
    assert re.findall(r"^\| `(Svc\w+)` \| (\w+) \|", guide, re.M) == severities


def test_architecture_names_modules_that_exist():
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    folders = [path for path in (ROOT / "svc").rglob("*") if path.is_dir()] + [ROOT, ROOT / "svc"]
    for name in set(re.findall(r"`([a-z_/]+\.py)`", text)):
        assert any((folder / name).exists() for folder in folders), name
