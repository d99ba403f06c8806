"""What the documents name is there: commands, scripts, files, variables, links."""

import dataclasses
import re

import click
import pytest

from svc.cli.main import svc
from svc.protocol.event import EVENT_KINDS
from svc.protocol.health_state import HEALTH_STATES
from svc.router.http.allowed_paths import AUXILIARY, INFERENCE
from svc.settings import ENVIRONMENT_VARIABLES, SECTIONS, rules_of
from svc.site.status import ProgramStatus, SiteStatus
from tests.e2e.sites import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "tests" / "README.md"])
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@documents
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / link).exists(), link


@documents
def test_commands_and_scripts_exist(document):
    text = document.read_text()
    known = set(svc.list_commands(click.Context(svc)))
    assert set(re.findall(r"(?:^|`|bin/)svc ([a-z]+)", text, re.M)) <= known
    for script in re.findall(r"bin/(\w+\.sh)", text):
        assert (ROOT / "bin" / script).exists(), script


@documents
def test_flags_of_svc_exist(document):
    pattern = r"(?:^|`|bin/)svc ([a-z]+)(?: ([a-z]+))?[^`\n|]*? (--[a-z-]+)"
    for command, word, flag in re.findall(pattern, document.read_text(), re.M):
        found = svc.get_command(click.Context(svc), command)
        if isinstance(found, click.Group):
            found = found.commands[word]
        assert flag in {name for option in found.params for name in option.opts} | {"--help"}, f"{command} {flag}"


@documents
def test_variables_are_read(document):
    named = set(re.findall(r"\b(?:REGISTRY|ROUTER|BABYSITTER|LAUNCH)_[A-Z_]+\b", document.read_text()))
    assert named <= set(ENVIRONMENT_VARIABLES)


@documents
def test_toml_files_that_are_named_exist(document):
    for path in re.findall(r"(?:up|babysitter\.sh|CONFIGS=\")[^`\n]*?(config/[\w/]+\.toml)", document.read_text()):
        assert (ROOT / path).exists(), path


def test_every_kind_of_event_is_told_with_its_meaning():
    text = (ROOT / "docs" / "EVENTS.md").read_text()
    for kind, (level, by, meaning) in EVENT_KINDS.items():
        assert f"| `{kind}` | {level} | {by} | {meaning} |" in text


def test_every_word_and_every_field_of_the_status_is_told():
    text = (ROOT / "docs" / "STATUS.md").read_text()
    for word, (level, meaning) in HEALTH_STATES.items():
        assert f"| `{word}` | {level} | {meaning} |" in text
    fields = [field.name for of in (SiteStatus, ProgramStatus) for field in dataclasses.fields(of)]
    told = re.findall(r"^\| `(\w+)` \| [^|]+ \|$", text, re.M)
    assert sorted(told) == sorted(fields)


@documents
def test_settings_in_examples_exist(document):
    for block in re.findall(r"```toml\n(.*?)```", document.read_text(), re.S):
        for section, body in re.findall(r"\[(registry|router|launch|logs|systemd|nginx)\]\n((?:\w.*\n?)*)", block):
            keys = set(re.findall(r"^(\w+) =", body, re.M))
            assert keys <= set(SECTIONS[section].__dataclass_fields__), f"[{section}]"


def test_every_path_that_the_router_relays_is_in_its_guide():
    text = (ROOT / "docs" / "ROUTER.md").read_text()
    for api, paths in INFERENCE.items():
        assert f"| {api} | `POST` " + ", ".join(f"`{path}`" for path in paths.split()) + " |" in text
    for api, routes in AUXILIARY.items():
        assert f"| {api} | " + ", ".join(f"`{route.strip()}`" for route in routes.split(",")) + " |" in text


def test_every_setting_of_the_router_is_in_its_guide():
    """With its flag, its variable and its default."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (`--.*) \|$", (ROOT / "docs" / "ROUTER.md").read_text(), re.M))
    fields = {field.name: field for field in dataclasses.fields(SECTIONS["router"])}
    assert list(rows) == list(fields)
    for name, field in fields.items():
        flag, variable, default, what = rows[name].split(" | ")
        assert flag == f"`--{name.replace('_', '-')}`"
        assert variable.strip("` ") == rules_of(field).variable
        shown = "" if field.default in ("", ()) else f"{field.default:g}" if isinstance(field.default, float) else None
        assert default.strip() == (str(field.default) if shown is None else shown), name
        assert what == rules_of(field).help


def test_every_setting_of_the_logs_is_in_their_document():
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", (ROOT / "docs" / "LOGS.md").read_text(), re.M))
    assert rows == {
        field.name: f'"{field.default}"' if isinstance(field.default, str) else str(field.default)
        for field in dataclasses.fields(SECTIONS["logs"])
    }


def test_every_setting_of_the_unit_is_in_its_document_with_its_default():
    block = re.search(r"```toml\n\[systemd\]\n(.*?)```", (ROOT / "docs" / "SYSTEMD.md").read_text(), re.S)[1]
    told = dict(re.findall(r'^(\w+) = "(.*?)"', block, re.M))
    assert told == {field.name: field.default for field in dataclasses.fields(SECTIONS["systemd"])}


def test_every_setting_of_nginx_is_in_its_guide():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", (ROOT / "docs" / "NGINX.md").read_text(), re.M)
    fields = dataclasses.fields(SECTIONS["nginx"])
    assert rows == [(field.name, field.default, rules_of(field).help) for field in fields]


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
