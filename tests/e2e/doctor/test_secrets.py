"""Files of tokens and keys, and secrets in command lines, with the cures of `svc doctor`."""

import os
from pwd import getpwnam

import pytest

from tests.e2e.doctor.diagnosis import Cures, doctor, everything, find, run_command, wait_until_healthy
from tests.e2e.sites import Site, http


def set_in(site: Site, table: str, line: str) -> None:
    config = site.root / "config" / "svc.toml"
    config.write_text(config.read_text().replace(f"[{table}]\n", f"[{table}]\n{line}\n"))


@pytest.mark.cures(
    "token.*: head -c 32 /dev/urandom | base64 | install -D -m 600 /dev/stdin *",
    "token.*: head -c 32 /dev/urandom | base64 | install -D -m 600 /dev/stdin *",
    "mode.*: chmod o= *",
)
def test_a_token_file_that_is_missing_or_empty_or_readable_by_all(site: Site, cures: Cures) -> None:
    """Its path has a blank, and its directory does not exist."""
    site.mock("one", heartbeat_interval=1)
    token = site.root / "the secrets" / "token"
    set_in(site, "registry", f'token_file = "{token}"')
    down = ("supervisord.down",)
    cures.apply(site, find(site, f"token.{token}"), leaves=down)
    assert (token.stat().st_mode & 0o777, len(token.read_text().split())) == (0o600, 1)
    token.write_text("two words")
    cures.apply(site, find(site, f"token.{token}"), leaves=down)
    assert len(token.read_text().split()) == 1
    site.svc("up")
    token.chmod(0o644)
    cures.apply(site, find(site, f"mode.{token}"))
    wait_until_healthy(site)


@pytest.mark.long
@pytest.mark.cures(
    "token.*: svc keys add NAME --file *",
    "token.*: echo '[instances]' | install -D -m 600 /dev/stdin *",
    "token.*: svc logs router",
    "token.*: svc doctor",
)
def test_a_file_of_keys_that_is_missing_or_has_an_error(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    keys, upstream = site.root / "keys.toml", site.root / "upstream.toml"
    set_in(site, "router", f'keys_file = "{keys}"\nupstream_keys_file = "{upstream}"')
    left = ("supervisord.down", f"token.{keys}")
    cures.apply(site, find(site, f"token.{upstream}"), leaves=left)
    out = cures.apply(site, find(site, f"token.{keys}"), leaves=left[:1])
    site.svc("up")
    key = out.split()[0]
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    assert post(site, chat, key) == 200
    before = keys.read_text()
    keys.write_text(before + "nonsense\n")
    finding = find(site, f"token.{keys}")
    cures.look(site, finding, str(keys))
    assert post(site, chat, key) == 200
    keys.write_text(before)
    cures.wait_until_gone(site, finding["key"])
    tokens = site.root / "tokens"
    tokens.write_text("[tokens]\nalice = word\n")
    tokens.chmod(0o600)
    set_in(site, "registry", f'token_file = "{tokens}"')
    finding = find(site, f"token.{tokens}")
    assert "line 2" in finding["why"]
    tokens.write_text('[tokens]\nalice = "word"\n')
    assert str(tokens) not in cures.look(site, finding, "disks")
    cures.wait_until_gone(site, finding["key"])


def post(site: Site, body: object, key: str) -> int:
    url = f"{site.router}/v1/chat/completions"
    return http.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.cures(
    "token.*: *chmod o+x *",
    "token.*: *chown $(id -u) *",
    "token.*: *chgrp $(id -g) * && *chmod g+r *",
)
def test_a_token_file_that_the_site_s_user_cannot_read(site: Site, cures: Cures) -> None:
    """It belongs to root, in a directory of root's, or to a user who reads it, too.

    The cures run as the site's user, who may use sudo.
    """
    site.mock("one", heartbeat_interval=1)
    token = site.root / "secrets" / "token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o600)
    set_in(site, "registry", f'token_file = "{token}"')
    site.svc("render")
    give_to_nobody(site)
    nobody = getpwnam("nobody")
    os.chown(token.parent, 0, 0)
    for owner, mode, command in (
        (0, 0o700, "chmod o+x"),
        (0, 0o711, "chown"),
        (getpwnam("daemon").pw_uid, 0o711, "chgrp"),
    ):
        os.chown(token, owner, -1)
        token.parent.chmod(mode)
        finding = find(site, f"token.{token}", user="nobody")
        assert finding["fix"].startswith(f"sudo {command}")
        as_nobody = finding["fix"].replace("$(id -u)", str(nobody.pw_uid)).replace("$(id -g)", str(nobody.pw_gid))
        cures.apply(site, finding, command=as_nobody, leaves=("*",))
        again = everything(doctor(site, status=None, user="nobody")).get(f"token.{token}", {})
        assert again.get("fix") != finding["fix"]
    assert not again
    assert token.stat().st_uid == getpwnam("daemon").pw_uid
    site.root.chmod(0o755)
    assert run_command(site, f"sudo -u daemon cat {token}; sudo -u nobody cat {token}") == "secretsecret"


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.cures("mode.*: *chgrp * * && *chmod g=r,o= *")
def test_a_token_file_that_the_site_s_programs_read_as_all_users_do(site: Site, cures: Cures) -> None:
    site.mock("one", heartbeat_interval=1)
    token = site.root / "token"
    token.write_text("secret")
    set_in(site, "registry", f'token_file = "{token}"')
    site.svc("render")
    (site.root / "var").mkdir(exist_ok=True)
    give_to_nobody(site)
    site.root.chmod(0o755)
    os.chown(token, 0, 0)
    token.chmod(0o644)
    cures.apply(site, find(site, f"mode.{token}"), leaves=("*",))
    assert token.stat().st_mode & 0o007 == 0
    assert "secret" in run_command(site, f"sudo -u nobody cat {token}")


def give_to_nobody(site: Site) -> None:
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, getpwnam("nobody").pw_uid, -1)


@pytest.mark.long
@pytest.mark.cures("command_line.*: svc up")
def test_a_secret_in_a_command_line(ailing: Site, cures: Cures) -> None:
    toml = ailing.root / "config" / "one.toml"
    before = toml.read_text()
    toml.write_text(before.replace("--models m", "--models m --api-key sk-secret-word"))
    ailing.svc("up", "--timeout", "3", status=None)
    finding = find(ailing, "command_line.one")
    toml.write_text(before)
    cures.apply(ailing, finding, restarts=("one:*",))
    wait_until_healthy(ailing)
