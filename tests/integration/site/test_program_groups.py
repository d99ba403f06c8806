"""The groups that files define, read by supervisord's own parser; its errors name the file."""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.site.program_groups import SupervisordFiles, expected_groups

MAIN = b"[supervisord]\nlogfile=/dev/null\npidfile=/dev/null\n[include]\nfiles=conf.d/*.conf\n"


def read(text: bytes, **environ: str):
    return expected_groups(SupervisordFiles(MAIN, {Path("conf.d/x.conf"): text}), "/site", environ)


def test_paths_are_of_the_site_and_variables_of_supervisord():
    groups = read(b"[program:x]\ncommand=run %(here)s %(ENV_WHO)s\ndirectory=%(here)s/..\n", WHO="me")
    assert groups["x"].programs["x"].keys["command"] == "run /site/conf.d me"
    assert groups["x"].programs["x"].keys["directory"] == "/site/conf.d/.."


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"[program:x]\ncommand=run %(ENV_NOBODY)s\n", "names ('ENV_NOBODY')"),
        (b"[program:x]\ncommand=run\nstdout_logfile=/no/such/place/x\n", "/no/such/place/x does not exist"),
        (b"rubbish\n", "no section headers"),
        (b"[program:x]\ncommand=\xff\n", "line 2 is not UTF-8"),
        (b"[program:x]\n", "does not specify a command"),
    ],
)
def test_an_error_of_supervisord_is_one_line_that_names_the_file(text, complaint):
    with pytest.raises(ConfigError) as error:
        read(text, HF_TOKEN="x")
    [line] = error.value.problems
    assert complaint in line
    assert "conf.d/x.conf" in line
    assert "\n" not in line
    assert "HF_TOKEN" not in line
