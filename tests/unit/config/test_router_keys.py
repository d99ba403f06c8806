"""The file of keys: read, written and changed by several processes at once; and `svc keys`."""

import contextlib
import datetime
import hashlib
import json
import os
import re
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

from svc.base.errors import CommandError, ConfigError
from svc.cli.main import svc
from svc.config import router_key_entry, router_keys
from svc.config.router_key_entry import KeyEntry
from tests.e2e.sites import ROOT
from tests.fork_server import SCRIPT

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.timezone.utc)
DIGEST = "ab" * 32
SECRET = re.compile(r"svc-[A-Za-z0-9_-]{43}")

counts = st.none() | st.integers(1, 2**40)
texts = st.text(
    st.characters(exclude_categories=router_key_entry.CATEGORIES_NOT_IN_NOTES),
    max_size=router_key_entry.MAX_NOTE_CHARACTERS,
)
moments = st.datetimes(min_value=datetime.datetime(1970, 1, 2), max_value=datetime.datetime(9000, 1, 1))
times = moments.map(lambda naive: naive.replace(tzinfo=datetime.timezone.utc))
entries = st.builds(
    KeyEntry,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    created=times,
    requests_per_minute=counts,
    concurrency=counts,
    operator=st.booleans(),
    note=texts,
    tokens_per_minute=counts,
    tokens_per_day=counts,
    share=st.floats(router_key_entry.MIN_SHARE, router_key_entry.MAX_SHARE),
    priority=st.integers(-router_key_entry.MAX_PRIORITY, router_key_entry.MAX_PRIORITY),
    models=st.lists(st.sampled_from(["qwen*", "*", "Qwen/Qwen3-8B", 'a"b\\c', "é"]), max_size=3).map(tuple),
    expires=st.none() | times,
    front=st.booleans(),
)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        router_keys.parse(text if isinstance(text, bytes) else text.encode(), Path("keys.toml"))
    return list(caught.value.problems)


def table(name: str = "ci", **values: str) -> str:
    told = {"sha256": f'"{DIGEST}"', "created": "2026-01-02T12:00:00Z"} | values
    return f"[keys.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in told.items() if value)


# The file.


@given(st.dictionaries(st.from_regex(router_key_entry.NAME, fullmatch=True), entries, max_size=5))
def test_written_keys_are_read_back(made):
    assume(len({entry.sha256 for entry in made.values()}) == len(made))
    assert router_keys.parse(router_keys.render(made).encode(), Path("keys.toml")) == made


def test_times_of_any_offset_and_digests_in_capitals_are_read():
    told = table(sha256=f'"{DIGEST.upper()}"', created="2026-01-02T13:00:00+01:00")
    assert router_keys.parse(told.encode(), Path("f")) == {"ci": KeyEntry(DIGEST, NOON)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "keys.toml: keys: missing or no section; write [keys]"),
        ("keys = 3", "keys.toml: keys: missing or no section; write [keys]"),
        ("[kets]\n[keys]", "keys.toml: kets: unknown key; there is only [keys]"),
        ("[keys", "keys.toml: not TOML: "),
        ("a = " + "[" * 5000, "keys.toml: not TOML: "),
        (b"[keys]\n# \xff", "keys.toml: line 2 is not UTF-8; save"),
        (table(sha256=""), "keys.toml: keys.ci.sha256: missing; make the key anew"),
        (table(created=""), "keys.toml: keys.ci.created: missing; make the key anew"),
        (table(sha256='"abc"'), "keys.toml: keys.ci.sha256: must be 64 hexadecimal digits"),
        (table(created='"2026-01-02T12:00:00Z"'), "keys.toml: keys.ci.created: must be a time with its offset, unq"),
        (table(created="2026-01-02T12:00:00"), "not 2026-01-02 12:00:00"),
        (table(created="2026-01-02"), "not 2026-01-02"),
        (table(requests_per_minute="0"), "keys.toml: keys.ci.requests_per_minute: must be a whole number from 1 on"),
        (table(requests_per_minute="true"), "not true; leave it out for no limit"),
        (table(concurrency="1.0"), "keys.toml: keys.ci.concurrency: must be a whole number from 1 on, not 1.0"),
        (table(note="7"), "keys.toml: keys.ci.note: must be one line of text, not 7"),
        (table(note=r'"a\u001b[2J"'), "keys.toml: keys.ci.note: must be one line of text"),
        (table(note=f'"{"x" * 201}"'), "keys.toml: keys.ci.note: has 201 characters; use at most 200"),
        (table(expires="1"), "keys.toml: keys.ci.expires: must be a time with its offset, unquoted"),
        (table(expires="9999-12-31T23:59:59-12:00"), "keys.toml: keys.ci.expires: must be within the years 1 to 9999"),
        (table(created="0001-01-01T00:00:00+12:00"), "keys.toml: keys.ci.created: must be within the years 1 to 9999"),
        (table(tokens_per_day="9" * 400), "keys.toml: keys.ci.tokens_per_day: must be at most 1000000000000000"),
        (table(tokens_per_day="0"), "keys.toml: keys.ci.tokens_per_day: must be a whole number from 1 on"),
        (table(share="0"), "keys.toml: keys.ci.share: must be a number from 0.001 to 1000, not 0"),
        (table(share="nan"), "keys.toml: keys.ci.share: must be a number"),
        (table(priority="1.5"), "keys.toml: keys.ci.priority: must be a whole number from -100 to 100, not 1.5"),
        (table(models='"qwen*"'), "keys.toml: keys.ci.models: must be a list of patterns"),
        (table(models="[]"), "keys.toml: keys.ci.models: must be a list of patterns, such as"),
        (table(models="[1]"), "keys.toml: keys.ci.models: 1 is no pattern"),
        (table(front='"yes"'), "keys.toml: keys.ci.front: must be true or false"),
        (table(expire="1"), "keys.toml: keys.ci.expire: unknown key; there are sha256, created, requests_per_"),
        (table('"a b"'), 'keys.toml: keys."a b": no name; begin with a letter or digit'),
        (table("a.b"), 'keys.toml: keys.a.b: unknown section; a name with a dot stands in quotes, [keys."NAME"]'),
        (table("a") + table("b"), "keys.toml: keys.b.sha256: the same as that of a; remove one of the two"),
    ],
)
def test_a_problem_is_reported_with_its_key_and_a_cure(text, expected):
    assert any(expected in problem for problem in problems(text)), problems(text)
    assert all("\n" not in problem for problem in problems(text))


def test_every_problem_is_reported_at_once():
    assert len(problems("x = 1\n" + table(concurrency="0", note="1") + '[keys.".a"]\n')) == 6


def test_no_error_shows_a_value_that_may_be_a_secret():
    for text in ('[keys]\nci = "svc-hidden"', table(sha256='"svc-hidden"'), table(secret='"svc-hidden"')):
        assert "hidden" not in " ".join(problems(text))


def test_a_file_that_cannot_be_read_is_reported_with_a_cure(tmp_path):
    with pytest.raises(ConfigError, match="No such file.*; make it with `svc keys add NAME`"):
        router_keys.read(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory; check the path"):
        router_keys.read(tmp_path)


# Changing it.


def test_only_the_owner_may_read_a_changed_file(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text("[keys]\n")
    path.chmod(0o644)
    with router_keys.editing(path) as keys:
        keys["ci"] = KeyEntry(DIGEST, NOON)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert router_keys.read(path) == {"ci": KeyEntry(DIGEST, NOON)}
    assert {p.name for p in tmp_path.iterdir()} == {"keys.toml", ".keys.toml.lock"}


def test_a_block_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(table())
    with contextlib.suppress(CommandError), router_keys.editing(path) as keys:
        keys.clear()
        raise CommandError("no")
    assert path.read_text() == table()


def test_a_failed_write_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "keys.toml"
    path.write_text(table())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match="No space left.*nothing was changed"), router_keys.editing(path) as keys:
        keys.clear()
    assert path.read_text() == table()
    assert {p.name for p in tmp_path.iterdir()} == {"keys.toml", ".keys.toml.lock"}


def test_a_lost_file_is_not_replaced_by_a_new_one(tmp_path):
    """With the lost file's keys gone, the router would refuse all of their clients."""
    path, lock = tmp_path / "keys.toml", tmp_path / ".keys.toml.lock"
    with router_keys.editing(path) as keys:
        keys["ci"] = KeyEntry(DIGEST, NOON)
    path.unlink()
    with pytest.raises(CommandError, match=f"is gone.*copy the file back, or remove {lock}"), router_keys.editing(path):
        pass
    assert not path.exists()
    lock.unlink()
    with router_keys.editing(path) as keys:
        assert keys == {}


def test_the_first_file_may_be_written_after_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "keys.toml"
    with monkeypatch.context() as patch, pytest.raises(CommandError), router_keys.editing(path):
        patch.setattr(os, "fsync", lambda descriptor: os.close(-1))
    with router_keys.editing(path) as keys:
        keys["ci"] = KeyEntry(DIGEST, NOON)
    assert router_keys.read(path).keys() == {"ci"}


def test_an_invalid_file_is_not_overwritten(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text("[keys")
    with pytest.raises(ConfigError), router_keys.editing(path):
        pass
    assert path.read_text() == "[keys"


def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "real.toml").write_text("[keys]\n")
    (tmp_path / "link.toml").symlink_to("real.toml")
    with router_keys.editing(tmp_path / "link.toml") as keys:
        keys["ci"] = KeyEntry(DIGEST, NOON)
    assert (tmp_path / "link.toml").is_symlink()
    assert "ci" in router_keys.read(tmp_path / "real.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_root_writes_keeps_its_owner(tmp_path):
    os.chown(tmp_path, 12345, 12346)
    path = tmp_path / "keys.toml"
    for _ in range(2):  # new, and there
        with router_keys.editing(path):
            pass
        for made in (path, tmp_path / ".keys.toml.lock"):
            assert (made.stat().st_uid, made.stat().st_gid) == (12345, 12346)


def test_two_concurrent_changes_lose_nothing(tmp_path):
    path = tmp_path / "keys.toml"
    both = threading.Barrier(2)

    def add(prefix: str) -> None:
        for number in range(20):
            both.wait(timeout=10)
            with router_keys.editing(path) as keys:
                keys[f"{prefix}{number}"] = KeyEntry(router_keys.digest(f"{prefix}{number}"), NOON)

    adders = [threading.Thread(target=add, args=(prefix,)) for prefix in "ab"]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join(timeout=30)
    assert set(router_keys.read(path)) == {f"{prefix}{number}" for prefix in "ab" for number in range(20)}


# The command.


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROUTER_KEYS_FILE", raising=False)
    return lambda *arguments: CliRunner().invoke(svc, ["keys", *arguments])


def kept() -> dict[str, KeyEntry]:
    return router_keys.read(Path("var/keys.toml"))


def test_add_prints_the_secret_and_stores_only_its_digest(run):
    done = run("add", "ci", "--requests-per-minute", "60", "--concurrency", "4", "--note", "für die Nacht")
    secret = done.stdout.strip()
    assert done.exit_code == 0
    assert SECRET.fullmatch(secret)
    assert secret not in done.stderr
    entry = kept()["ci"]
    assert entry.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert (entry.requests_per_minute, entry.concurrency, entry.note) == (60, 4, "für die Nacht")
    assert abs(datetime.datetime.now(datetime.timezone.utc) - entry.created) < datetime.timedelta(minutes=1)
    assert secret not in Path("var/keys.toml").read_text()


def test_secrets_are_different(run):
    assert len({run("add", f"key{number}").stdout for number in range(5)}) == 5


def test_add_says_how_to_make_the_router_require_keys(run):
    assert 'keys_file = "var/keys.toml" under [router]' in run("add", "ci").stderr


def test_the_file_is_that_of_the_routers_setting(run, monkeypatch):
    monkeypatch.setenv("ROUTER_KEYS_FILE", "mine.toml")
    done = run("add", "ci")
    assert set(router_keys.read(Path("mine.toml"))) == {"ci"}
    assert "keys_file" not in done.stderr
    assert "keys_file" in run("add", "ci", "--file", "other.toml").stderr


def test_adding_an_existing_name_fails_and_changes_nothing(run):
    run("add", "ci")
    before = kept()
    done = run("add", "ci")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "there is a key 'ci' already" in done.stderr
    assert "svc keys revoke ci" in done.stderr
    assert kept() == before


@pytest.mark.parametrize("name", [".ci", "a b", "", "x" * 65, "ci\n", "é"])
def test_an_invalid_name_is_a_usage_error(run, name):
    done = run("add", "--", name)
    assert done.exit_code == 2
    assert "begin with a letter or digit" in done.stderr
    assert not Path("var").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--concurrency", "0"], ["--requests-per-minute", "-1"], ["--requests-per-minute", "x"], ["--note", "\t"]],
)
def test_an_invalid_limit_or_note_is_a_usage_error(run, arguments):
    assert run("add", "ci", *arguments).exit_code == 2
    assert not Path("var").exists()


def test_list_shows_no_secret_and_no_whole_digest(run):
    secret = run("add", "ci", "--note", "nightly", "--concurrency", "2").stdout.strip()
    run("add", "a.b", "--operator", "--concurrency", "1")
    entry = kept()["ci"]
    done = run("list")
    head, first, second = done.stdout.splitlines()
    assert head.split() == ["NAME", "CREATED", "PER", "MINUTE", "AT", "ONCE", "OPERATOR", "SHA-256", "NOTE"]
    assert (first.split()[0], first.split()[3:5]) == ("a.b", ["1", "yes"])
    assert second.split() == ["ci", f"{entry.created:%Y-%m-%dT%H:%M:%SZ}", "-", "2", "-", entry.sha256[:8], "nightly"]
    told = run("list", "--json").stdout
    assert json.loads(told)["keys"][1] == {
        "name": "ci",
        "created": f"{entry.created:%Y-%m-%dT%H:%M:%SZ}",
        "requests_per_minute": None,
        "concurrency": 2,
        "tokens_per_minute": None,
        "tokens_per_day": None,
        "share": 1.0,
        "priority": 0,
        "models": [],
        "expires": None,
        "front": False,
        "operator": False,
        "sha256": entry.sha256[:8],
        "note": "nightly",
    }
    for text in (done.stdout, told):
        assert secret not in text
        assert entry.sha256 not in text


def test_list_without_keys_says_how_to_make_one(run):
    done = run("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "svc keys add NAME" in done.stderr
    assert json.loads(run("list", "--json").stdout) == {"keys": []}


def test_list_of_an_invalid_file_reports_every_problem(run):
    Path("mine.toml").write_text(table(concurrency="0", note="1"))
    done = run("list", "--file", "mine.toml")
    assert done.exit_code == 1
    assert done.stderr.count("svc: mine.toml: keys.ci.") == 2


def test_revoke_removes_one_key(run):
    run("add", "ci")
    run("add", "dev")
    assert run("revoke", "ci").exit_code == 0
    assert set(kept()) == {"dev"}
    assert run("add", "ci").exit_code == 0


def test_revoke_of_an_unknown_key_lists_the_keys(run):
    assert "no such file" in run("revoke", "ci").stderr
    run("add", "nightly")
    done = run("revoke", "nightli")
    assert done.exit_code == 1
    assert "there is no key 'nightli'; did you mean nightly?" in done.stderr


def test_the_file_option_names_the_file(run):
    assert run("add", "ci", "--file", "mine.toml").exit_code == 0
    assert set(router_keys.read(Path("mine.toml"))) == {"ci"}
    assert not Path("var").exists()


def test_a_missing_directory_is_reported(run):
    done = run("add", "ci", "--file", "none/mine.toml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "none/mine.toml: cannot write the keys: No such file or directory" in done.stderr


def test_two_concurrent_commands_both_take_effect(tmp_path):
    arguments = [[str(SCRIPT), "keys", "add", name, "--file", "keys.toml"] for name in ("ci", "dev")]
    running = [
        subprocess.Popen(w, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for w in arguments
    ]
    told = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    secrets = [out.removesuffix("\n") for out, _ in told]
    assert all(SECRET.fullmatch(secret) for secret in secrets)
    found = router_keys.read(tmp_path / "keys.toml")
    assert {name: entry.sha256 for name, entry in found.items()} == dict(
        zip(("ci", "dev"), map(router_keys.digest, secrets), strict=True)
    )


def test_a_key_is_not_stored_when_its_secret_cannot_be_printed(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [str(SCRIPT), "keys", "add", "ci"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert "cannot write the secret to stdout: No space left on device; no key was added" in done.stderr
    assert "Traceback" not in done.stderr
    assert router_keys.read(tmp_path / "var" / "keys.toml") == {}


def test_the_file_in_the_documentation_is_valid():
    text = (ROOT / "docs" / "KEYS.md").read_text()
    [example] = re.findall(r"```toml\n(\[keys\]\n.*?)```", text, re.S)
    assert set(router_keys.parse(example.encode(), Path("docs/KEYS.md"))) == {"ci"}


@pytest.mark.parametrize(
    ("configured", "used", "expected"),
    [("", "", False), ("", "a", False), ("a", "", True), ("a", "b", True), ("a", "./a", False), ("link", "a", False)],
)
def test_a_file_of_keys_is_unapplied_if_the_router_uses_another_or_none(
    configured, used, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("a")
    assert router_keys.is_unapplied(configured, used) is expected
