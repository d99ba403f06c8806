"""supervisord's configuration, as its own parser reads it, becomes values that can be compared."""

import json

import pytest
from supervisor.options import ServerOptions

from svc.supervision.config_serializer import serialize
from svc.supervision.program_config import AUTO, parse_groups

CONF = """
[supervisord]
[program:registry]
command = svc registry
stopsignal = INT
umask = 027
autorestart = unexpected
environment = A="1"
[program:qwen-server]
command = python3 -m server --port 8100
[program:qwen-babysitter]
command = svc babysitter
[group:qwen]
programs = qwen-server,qwen-babysitter
[fcgi-program:router]
command = svc router
socket = tcp://127.0.0.1:8000
"""


def groups_of(tmp_path, text):
    path = tmp_path / "supervisord.conf"
    path.write_text(text)
    options = ServerOptions()
    options.here, options.configfile = str(tmp_path), str(path)
    payload = serialize(options.read_config(str(path)).process_group_configs)
    return parse_groups(json.loads(json.dumps(payload)))


@pytest.fixture
def groups(tmp_path):
    return groups_of(tmp_path, CONF)


def test_values_are_texts_as_in_supervisords_files(groups):
    program = groups["registry"].programs["registry"]
    keys = {key: program.keys[key] for key in ("command", "stopsignal", "umask", "autorestart", "stdout_logfile")}
    assert keys == {
        "command": "svc registry",
        "stopsignal": "INT",
        "umask": "027",
        "autorestart": "unexpected",
        "stdout_logfile": AUTO,
    }
    assert program.environment == {"A": "1"}


def test_programs_have_the_names_that_supervisorctl_writes(groups):
    assert set(groups["qwen"].programs) == {"qwen:qwen-server", "qwen:qwen-babysitter"}


def test_the_address_of_a_socket_is_a_key_of_its_group(groups):
    assert "127.0.0.1:8000" in groups["router"].keys["socket"]


def test_the_same_files_give_equal_groups_and_an_edit_shows(tmp_path, groups):
    assert groups_of(tmp_path, CONF) == groups
    changed = groups_of(tmp_path, CONF.replace("--port 8100", "--port 8200"))
    assert [name for name in groups if groups[name] != changed[name]] == ["qwen"]
