"""docs/MIGRATION.md, walked on a machine that has TOML files in the form of the original's, and their server."""

import json
import os
import re
from pathlib import Path

import pytest

from svc.cli.original.infini_babysitter import command
from svc.config.instance.load import load_one
from svc.config.instance.unusual_values import unusual_values
from svc.config.settings_file import load_settings
from svc.settings import SECTIONS
from tests.documents.blocks import ROOT, blocks
from tests.documents.checkout import checkout
from tests.documents.machine import Machine, missing

DOCUMENT = Path("docs/MIGRATION.md")
ORIGINAL = Path(__file__).with_name("original")


@pytest.fixture
def machine(tmp_path):
    if reason := missing():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    session = Machine(checkout(tmp_path))
    session.do("cp -r tests/documents/original ~/InfiniLM-SVC")
    yield session
    session.close()


def test_the_originals_files_and_programs_run_as_the_document_says(machine):
    copied, launched, variables, programs = blocks(DOCUMENT)
    output = machine.run(copied)
    assert output.count("warning: config/") == 3
    assert "3 instances: no errors, 3 warnings" in output

    output = machine.run(launched)
    assert "babysitter-a: host: '0.0.0.0' is for listening" in output
    listed, _ = json.JSONDecoder().raw_decode(output, output.index('{"services":'))
    services = {service["name"]: service for service in listed["services"]}
    assert {service["host"] for service in services.values()} == {"localhost"}
    assert services["paged-cache-server"]["metadata"]["cache_type"] == "paged"
    assert '"content": "from port 8100"' in output

    output = machine.run(variables)
    assert '"name":"babysitter-a-server"' in output.replace(" ", "")
    assert "model-2" not in output, "BABYSITTER_CONFIGS names one file"

    machine.run(programs)
    assert "registered other-server (running)" in machine.do("cat babysitter.log")


def test_every_file_is_valid_and_registers_where_the_site_is():
    environ = {"REGISTRY_PORT": "19000", "ROUTER_PORT": "9000"}
    configs = [load_one(path, load_settings(environ=environ)) for path in (ORIGINAL / "config").glob("*.toml")]
    assert {config.registry_urls for config in configs} == {("http://localhost:19000",)}
    assert {config.router_url for config in configs} == {"http://localhost:9000"}
    assert all(len(list(unusual_values(config))) == 1 for config in configs)


def test_the_settings_and_flags_that_the_document_names_exist():
    text = (ROOT / DOCUMENT).read_text()
    settings = re.findall(r"`(\w+) = [^`]+` under `\[(\w+)\]`(?: and `\[(\w+)\]`)?", text)
    assert len(settings) >= 3
    for name, *sections in settings:
        assert all(name in SECTIONS[section].__dataclass_fields__ for section in filter(None, sections)), name
    table = text.partition("each flag overrides the file:")[2].partition("\n\n## ")[0]
    flags = {flag for option in command.params for flag in option.opts}
    assert set(re.findall(r"`(--?[a-z-]+)[ `]", table)) <= flags
