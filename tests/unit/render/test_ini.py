"""Odd values come out of supervisord's own parser unchanged."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svc.config.instance.model import CommandBackend, InstanceConfig
from svc.config.readers import why_unusable
from svc.config.settings_file import load_settings
from svc.render import ini
from svc.render.paths import RenderPaths
from svc.render.supervisord_conf import render
from tests.unit.render import supervisord

ODD_VALUES = [
    "",
    " ",
    "plain",
    "two words",
    " edges ",
    "tab\tin",
    "\ttab edge\t",
    "it's",
    'say "hi"',
    "'",
    '"',
    "''",
    "\"\" ''",
    "'quoted'",
    '"quoted"',
    "a'b\"c\\d",
    "back\\slash",
    "\\",
    "trailing\\",
    "\\n",
    "$HOME `id` $(id)",
    "~",
    "*?[a]",
    ";",
    "#",
    "; comment",
    "# comment",
    "a ; b",
    "a # b",
    "a;b",
    "x\t;y",
    "'; #'",
    "\u2003; wide blank",
    "%",
    "%%",
    "100% sure",
    "%s",
    "%d",
    "%(here)s",
    "%%(here)s",
    "%(ENV_HOME)s",
    "%(program_name)s",
    "50%(x",
    "%(",
    "a\nb",
    "\n",
    "\n\n",
    "a\n\nb\n",
    " a\n  b \n",
    "a\n[program:x]\ncommand=evil",
    "a\n;b\n#c",
    "x\n%(here)s",
    "\nlead",
    "a=b",
    "a,b=c",
    "k: v",
    "[section]",
    '{json: "yes"}',
    '{"a": ["b", \'c\']}',
    "--",
    "-x",
    "--env",
    "=",
    "ünïcödé 模型 🦙",
    "\u00a0nbsp\u00a0",
    "\u2028line\u2029",
    "\x85nel\x85",
    "\x1cfs\x1f",
    "\x0b\x0c",
    "\x1b[31m",
    "\x7f",
    "e\u0301",
    "http://u:p@h:1/?a=b&c=%20#f",
    "x" * 5000,
]
AWKWARD = {"PATH": "/only/here", "PYTHONHOME": "/nowhere", "PYTHONPATH": "a b", "LD_PRELOAD": "x.so", "A.B-C": "1"}


def config(args=(), env=(), work_dir="", command=("prog",)):
    backend = CommandBackend(command=tuple(command), args=tuple(args), env=dict(env), work_dir=work_dir)
    return InstanceConfig(
        name="x",
        host="localhost",
        port=8100,
        registry_urls=("http://localhost:18000",),
        router_url="",
        token_file="",
        max_restarts=10,
        restart_delay=2,
        heartbeat_interval=30,
        backend=backend,
        metadata={},
        source=Path("x.toml"),
    )


def server(root, config):
    site_settings = load_settings()
    absolute_config = dataclasses.replace(config, source=root / "config" / config.source)
    return supervisord.programs(root, render([absolute_config], site_settings, RenderPaths.of(root)))["x:server"]


@pytest.mark.parametrize("value", ODD_VALUES)
def test_the_child_gets_an_odd_value_exactly(tmp_path, value):
    root = tmp_path / "a site ;with #odd 模 name"
    program = server(root, config(args=[value, "last"], env={"ODD": value, "NEXT": "1"}, work_dir=f"w{value}w"))
    assert supervisord.child(program) == (["prog", value, "last"], {"ODD": value, "NEXT": "1"})
    assert program.directory == f"{root}/conf.d/../w{value}w"


@pytest.mark.parametrize("value", [v for v in ODD_VALUES if v])
def test_an_absolute_work_dir_is_used_exactly(tmp_path, value):
    assert server(tmp_path, config(work_dir=f"/{value}")).directory == f"/{value}"


def test_all_odd_values_at_once(tmp_path):
    env = {f"V{n}": value for n, value in enumerate(ODD_VALUES)} | AWKWARD
    assert supervisord.child(server(tmp_path, config(args=ODD_VALUES, env=env))) == (["prog", *ODD_VALUES], env)


def test_variables_that_would_affect_the_shim_are_encoded(tmp_path):
    program = server(tmp_path, config(env=AWKWARD))
    ours = {key for key in program.environment if not key.startswith("SVC_ENV_")}
    assert ours == {"A.B-C", "SVC_MAX_RESTARTS", "SVC_RESTART_DELAY"}


@pytest.mark.parametrize("value", ["s3cret", "s3cret'\"", '"s3cret', "s3cret\\'"])
@pytest.mark.parametrize("key", ["API_KEY", "LD_PRELOAD", "PATH"])
def test_variables_stay_out_of_every_command_line(tmp_path, key, value):
    assert "s3cret" not in server(tmp_path, config(env={key: value})).command


words = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(words, max_size=4), words)
def test_any_text_reaches_the_child(tmp_path, args, value):
    program = server(tmp_path, config(args=args, env={"V": value, "W": value}))
    assert supervisord.child(program) == (["prog", *args], {"V": value, "W": value})


def test_a_real_child_of_the_real_shim_gets_the_same(tmp_path):
    """Run the command that supervisord would run."""
    values = [value for value in ODD_VALUES if value]
    env = {f"V{n}": value for n, value in enumerate(ODD_VALUES)}
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
    odd = tmp_path / 'it\'s a "dir" ; #100% ü\n.'
    odd.mkdir()
    program = server(tmp_path, config(values, env, str(odd), command=(sys.executable, "-c", code)))
    shim = [sys.executable, "-m", "svc.supervision.launch", *supervisord.arguments(program)[2:]]
    at = shim.index("--port")
    done = subprocess.run(
        shim[:at] + shim[at + 2 :],
        env=os.environ | program.environment,
        cwd=program.directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    argv, received, cwd = json.loads(done.stdout)
    assert argv == values
    assert env.items() <= received.items()
    assert cwd == str(odd)


@pytest.mark.parametrize(("char", "word"), [("\0", "NUL"), ("\r", "carriage return")])
def test_unusable_text_is_refused_with_a_reason(char, word):
    assert word in why_unusable(f"a{char}b")
    with pytest.raises(ValueError, match=word):
        ini.escape(f"a{char}b")
