"""Facts that are collected from this machine."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from svc.base import procfs
from svc.doctor.checks.secrets import check_files
from svc.doctor.collect import machine_facts
from svc.doctor.facts import API_KEYS, TOKEN, Facts, SupervisordFacts

OWN = procfs.credentials(os.getpid())
READER = procfs.Credentials(12345, 54321, frozenset({54321}), reads_any_file=False)


@pytest.fixture
def token():
    """A token file that all users can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "token")
        path.write_text("word")
        path.chmod(0o644)
        yield path


def test_the_router_s_file_of_keys_is_read(tmp_path):
    path = tmp_path / "keys.toml"
    assert machine_facts.secret_file(path, "keys_file", API_KEYS, OWN).missing
    path.write_text("[keys")
    assert "not TOML" in machine_facts.secret_file(path, "keys_file", API_KEYS, OWN).errors[0]


def test_a_file_of_several_tokens_is_checked_as_a_table(tmp_path):
    path = tmp_path / "tokens"
    path.write_text('[tokens]\nfleet = "one"\nalice = "two"\n')
    facts = machine_facts.secret_file(path, "token_file", TOKEN, OWN)
    assert (facts.word_count, facts.errors) == (1, ())
    path.write_text("[tokens]\nfleet = one\n")
    assert "line 2" in machine_facts.secret_file(path, "token_file", TOKEN, OWN).errors[0]


def test_the_reader_of_secrets_is_supervisord_or_the_owner_of_var(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as process:
        assert machine_facts.reader(SupervisordFacts(pid=process.pid), tmp_path) == OWN
        process.kill()
    assert machine_facts.reader(SupervisordFacts(), tmp_path) == OWN
    assert machine_facts.reader(SupervisordFacts(), tmp_path / "missing") == OWN


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("reader", [OWN, READER])
def test_the_cure_of_a_readable_token_leaves_it_readable_for_the_programs(token, reader):
    [finding] = check_files(Facts(secrets=[machine_facts.secret_file(token, "token_file", TOKEN, reader)], sudo=""))
    subprocess.run(["sh", "-c", finding.fix], check=True)
    assert not list(check_files(Facts(secrets=[machine_facts.secret_file(token, "token_file", TOKEN, reader)])))
    child = os.fork()
    if child == 0:
        os.setgroups(sorted(reader.groups))
        os.setresgid(reader.gid, reader.gid, reader.gid)
        os.setresuid(reader.uid, reader.uid, reader.uid)
        os._exit(not os.access(token, os.R_OK))
    assert os.waitpid(child, 0)[1] == 0
