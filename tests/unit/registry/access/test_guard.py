import os

import pytest

from svc.base.errors import Unauthorized
from svc.registry.access.guard import OPEN, READ, READ_TOKEN, REPORT, WRITE, Guard, token_file
from svc.registry.access.identity import identify

FAR = "10.0.0.7"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "write").write_text("w-secret\n")
    (tmp_path / "read").write_text("r-secret\n")
    return token_file(str(tmp_path / "write")), token_file(str(tmp_path / "read"))


def admit(guard, access, peer, authorization, forwarded=False):
    headers = {"authorization": authorization, **({"x-forwarded-for": FAR} if forwarded else {})}
    guard.admit(access, identify(peer, headers, is_operator=guard.is_operator), authorization)


def refused(guard, access, peer=FAR, token="", forwarded=False):
    try:
        admit(guard, access, peer, f"Bearer {token}" if token else "", forwarded)
    except Unauthorized as error:
        return error.message
    return ""


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_do_all(files, peer):
    assert not refused(Guard(*files), WRITE, peer)
    assert not refused(Guard(*files), READ, peer)


@pytest.mark.parametrize("peer", [FAR, "::ffff:10.0.0.7", "2001:db8::1", "", None])
def test_others_may_not_write_without_a_token_and_are_told_what_to_do(peer):
    assert "--token-file" in refused(Guard(), WRITE, peer)
    assert not refused(Guard(), READ, peer)


def test_what_a_proxy_on_this_machine_passed_on_is_not_of_this_machine():
    assert refused(Guard(), WRITE, "127.0.0.1", forwarded=True)


def test_the_token_lets_write_and_no_other_does(files):
    guard = Guard(files[0])
    assert not refused(guard, WRITE, token="w-secret")
    for wrong in ("", "w-secre", "w-secret2", "r-secret"):
        assert "Authorization: Bearer" in refused(guard, WRITE, token=wrong)
    with pytest.raises(Unauthorized):
        admit(guard, WRITE, FAR, "Basic w-secret")


def test_a_read_token_closes_reads_to_all_but_either_token(files):
    guard = Guard(*files)
    assert refused(guard, READ)
    assert not refused(guard, READ, token="r-secret")
    assert not refused(guard, READ, token="w-secret")
    assert refused(guard, WRITE, token="r-secret") == READ_TOKEN
    assert not refused(guard, OPEN)


def test_insecure_opens_writes_but_not_guarded_reads(files):
    assert not refused(Guard(insecure=True), WRITE)
    assert refused(Guard(None, files[1], insecure=True), READ)


def test_a_changed_token_holds_from_the_next_request_on(files):
    guard = Guard(files[0])
    assert not refused(guard, WRITE, token="w-secret")
    files[0].path.write_text("new-secret")
    os.utime(files[0].path, ns=(1, 1))
    assert refused(guard, WRITE, token="w-secret")
    assert not refused(guard, WRITE, token="new-secret")


def test_an_empty_or_missing_token_file_lets_nobody_in(files):
    guard = Guard(files[0])
    files[0].path.write_text("")
    assert refused(guard, WRITE)
    assert refused(guard, WRITE, token=" ")
    files[0].path.unlink()
    assert refused(guard, WRITE, token="w-secret")


def test_no_refusal_and_no_log_shows_a_token(files, caplog):
    shown = refused(Guard(*files), WRITE, token="guess")
    assert not any(word in shown + caplog.text for word in ("w-secret", "r-secret", "guess"))


def test_loopback_may_need_a_token_as_other_machines_do(files):
    guard = Guard(*files, loopback_needs_token=True)
    for access in (READ, REPORT, WRITE):
        assert f"a {access} from this machine needs" in refused(guard, access, "127.0.0.1")
        assert f"a {access} from another machine needs" in refused(guard, access)
        assert not refused(guard, access, "127.0.0.1", token="w-secret")
    assert not refused(guard, OPEN, "127.0.0.1")


def test_a_missing_token_file_is_logged_once_and_admits_again_when_it_is_back(files, caplog):
    guard = Guard(files[0])
    files[0].path.unlink()
    for _ in range(3):
        assert refused(guard, WRITE, token="w-secret")
    assert len(caplog.records) == 1
    assert "token_file names: No such file" in caplog.text
    files[0].path.write_text("w-secret")
    assert not refused(guard, WRITE, token="w-secret")
