"""Commands at a site whose supervisord they cannot reach: another user's, and one whose socket was removed."""

import json
import os
import pwd
import shutil

import pytest

from tests.e2e.sites import BIN, clean_environ
from tests.fork_server import ForkedCommand


def as_nobody(site, *arguments):
    """Run a command of svc as the user `nobody`; return its exit code, stdout and stderr."""
    command = ForkedCommand(arguments, site.root, clean_environ(), user="nobody")
    out, err = command.communicate(timeout=60)
    return command.returncode, out, err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_the_owner_and_changes_nothing(site):
    site.root.chmod(0o755)
    site.svc("up")
    pid = site.pid()
    for command in ("status", "plan", "down", "up", "logs"):
        code, out, err = as_nobody(site, command)
        assert code == 1, command
        assert "Traceback" not in err
        assert err.startswith("svc: ")
        assert f"belongs to root: run `sudo -u root {BIN}/svc {command}`" in err, command
    problems = json.loads(as_nobody(site, "status", "--json")[1])["problems"]
    assert "user nobody may not use it" in problems[0]
    code, out, err = as_nobody(site, "doctor")
    assert code == 1
    assert "this user may not use supervisord's socket" in out, err
    assert f"sudo -u root {BIN}/svc doctor" in out
    assert "chown" not in out
    assert site.pid() == pid
    assert site.svc("status")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_member_of_the_sites_group_is_not_told_to_take_its_files(site):
    toml, token = site.root / "config" / "svc.toml", site.root / "token"
    token.write_text("secret")
    token.chmod(0o600)
    text = toml.read_text().replace("[registry]", '[registry]\ntoken_file = "token"')
    toml.write_text(f'{text}[systemd]\ngroup = "nogroup"\n')
    site.root.chmod(0o755)
    site.svc("up")
    for path in ("var", "logs", "var/supervisor.sock"):  # as of a site whose owner is in that group
        shutil.chown(site.root / path, group="nogroup")
    code, out, err = as_nobody(site, "status")
    assert code == 0, out + err
    code, out, err = as_nobody(site, "doctor", "--json")
    assert code == 1, out + err
    assert "chown" not in out
    cures = {f["key"]: f["fix"] for f in json.loads(out)["findings"]}
    assert {cures[name] for name in ("disk.var", "disk.logs", "token.token")} == {f"sudo -u root {BIN}/svc doctor"}, (
        cures
    )
    assert "it belongs to root: run `sudo -u root" in as_nobody(site, "apply")[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_in_a_sites_directory_belongs_to_the_sites_owner(site):
    nobody = pwd.getpwnam("nobody")
    toml = site.root / "config" / "svc.toml"
    toml.write_text(f'{toml.read_text()}keys_file = "var/keys.toml"\n')
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    site.svc("render")
    site.svc("render", "--systemd")
    site.svc("keys", "add", "me")
    assert "no supervisord runs" in site.refused("apply")
    made = {path: path.lstat().st_uid for path in site.root.rglob("*")}
    assert {path.name for path in made} >= {".gitignore", "registry.conf", "infinilm-svc.service", "rollout.lock"}
    assert set(made.values()) == {nobody.pw_uid}, {path for path, uid in made.items() if uid == 0}


def test_a_supervisord_whose_socket_is_gone_is_named_and_ended(site):
    site.mock("one")
    site.svc("up")
    pid = site.pid()
    shutil.rmtree(site.root / "var")
    lost = f"supervisord runs here (pid {pid}), but its socket var/supervisor.sock is gone"
    assert lost in site.refused("status")
    assert lost in site.refused("up")
    assert f"supervisord runs (pid {pid}), but its socket is gone" in site.svc("doctor", status=1)[0]
    assert f"the socket of supervisord (pid {pid}) is gone" in site.svc("down")[0]
    assert not site.processes()
    assert "nothing runs here" in site.svc("down")[0]
