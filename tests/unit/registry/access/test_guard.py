import os

import pytest

from svc.base.errors import Misdirected, Unauthorized
from svc.perimeter.hosts import Hosts
from svc.registry.access.guard import OPEN, READ, READ_TOKEN, REPORT, WRITE, Admission, Guard, token_file
from svc.registry.access.identity import identify

FAR = "10.0.0.7"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "write").write_text("w-secret\n")
    (tmp_path / "read").write_text("r-secret\n")
    return token_file(str(tmp_path / "write")), token_file(str(tmp_path / "read"))


def admit(guard, access, peer, authorization, forwarded=False):
    headers = {"authorization": authorization, **({"x-forwarded-for": FAR} if forwarded else {})}
    guard.admit(access, identify(peer, headers, operator=guard.operator), authorization)


def rejection(guard, access, peer=FAR, token="", forwarded=False):
    try:
        admit(guard, access, peer, f"Bearer {token}" if token else "", forwarded)
    except Unauthorized as error:
        return error.message
    return ""


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_read_and_write(files, peer):
    assert not rejection(Guard(*files), WRITE, peer)
    assert not rejection(Guard(*files), READ, peer)


@pytest.mark.parametrize("peer", [FAR, "::ffff:10.0.0.7", "2001:db8::1", "", None])
def test_another_machine_needs_a_token_to_write(peer):
    assert "--token-file" in rejection(Guard(), WRITE, peer)
    assert not rejection(Guard(), READ, peer)


def test_a_request_forwarded_by_a_local_proxy_is_not_local():
    assert rejection(Guard(), WRITE, "127.0.0.1", forwarded=True)


def test_only_the_write_token_allows_writes(files):
    guard = Guard(files[0])
    assert not rejection(guard, WRITE, token="w-secret")
    for wrong in ("", "w-secre", "w-secret2", "r-secret"):
        assert "Authorization: Bearer" in rejection(guard, WRITE, token=wrong)
    with pytest.raises(Unauthorized):
        admit(guard, WRITE, FAR, "Basic w-secret")


def test_with_a_read_token_reads_need_either_token(files):
    guard = Guard(*files)
    assert rejection(guard, READ)
    assert not rejection(guard, READ, token="r-secret")
    assert not rejection(guard, READ, token="w-secret")
    assert rejection(guard, WRITE, token="r-secret") == READ_TOKEN
    assert not rejection(guard, OPEN)


def test_insecure_allows_writes_but_not_reads_that_need_a_token(files):
    assert not rejection(Guard(insecure=True), WRITE)
    assert rejection(Guard(None, files[1], insecure=True), READ)


def test_a_changed_token_is_used_from_the_next_request_on(files):
    guard = Guard(files[0])
    assert not rejection(guard, WRITE, token="w-secret")
    files[0].path.write_text("new-secret")
    os.utime(files[0].path, ns=(1, 1))
    assert rejection(guard, WRITE, token="w-secret")
    assert not rejection(guard, WRITE, token="new-secret")


def test_an_empty_or_missing_token_file_admits_no_client(files):
    guard = Guard(files[0])
    files[0].path.write_text("")
    assert rejection(guard, WRITE)
    assert rejection(guard, WRITE, token=" ")
    files[0].path.unlink()
    assert rejection(guard, WRITE, token="w-secret")


def test_errors_and_logs_show_no_token(files, caplog):
    message = rejection(Guard(*files), WRITE, token="guess")
    assert not any(token in message + caplog.text for token in ("w-secret", "r-secret", "guess"))


def test_loopback_needs_token_applies_to_this_machine(files):
    guard = Guard(*files, loopback_needs_token=True)
    for access in (READ, REPORT, WRITE):
        assert f"a {access} from this machine needs" in rejection(guard, access, "127.0.0.1")
        assert f"a {access} from another machine needs" in rejection(guard, access)
        assert not rejection(guard, access, "127.0.0.1", token="w-secret")
    assert not rejection(guard, OPEN, "127.0.0.1")


def test_a_missing_token_file_is_logged_once_until_it_is_back(files, caplog):
    guard = Guard(files[0])
    files[0].path.unlink()
    for _ in range(3):
        assert rejection(guard, WRITE, token="w-secret")
    assert len(caplog.records) == 1
    assert "token_file names: No such file" in caplog.text
    files[0].path.write_text("w-secret")
    assert not rejection(guard, WRITE, token="w-secret")


def test_a_web_page_of_another_host_is_refused_before_its_token_is_checked(files):
    admission = Admission(Guard(*files), Hosts(loopback_only=True))
    headers = {"host": "evil.example", "authorization": "Bearer w-secret"}
    client = admission.identify("127.0.0.1", headers)
    assert (client.is_local, client.is_operator) == (False, True)
    with pytest.raises(Misdirected):
        admission.check(WRITE, "POST", client, headers)
    headers["host"] = "localhost"
    client = admission.identify("127.0.0.1", headers)
    assert client.is_local
    admission.check(WRITE, "POST", client, headers)


def test_every_token_of_a_file_with_names_admits_and_names_its_holder(files):
    files[0].path.write_text('[tokens]\nfleet = "one"\nalice = "two"\n')
    guard = Guard(*files)
    assert not rejection(guard, WRITE, token="one")
    assert not rejection(guard, WRITE, token="two")
    assert rejection(guard, WRITE, token="tw")
    holders = [guard.operator(f"Bearer {token}") for token in ("one", "two", "three", "w-secret")]
    assert holders == ["fleet", "alice", "", ""]
    assert Guard(files[1]).operator("Bearer r-secret") == "operator"
    files[1].path.write_text('[tokens]\nprometheus = "three"\nrouter = "four"\n')
    assert not rejection(guard, READ, token="four")


def test_a_mistake_in_a_file_with_names_revokes_no_token(files, caplog):
    guard = Guard(files[0])
    files[0].path.write_text('[tokens]\nfleet = "one"\nalice = "two"\n')
    assert not rejection(guard, WRITE, token="two")
    files[0].path.write_text('[tokens]\nfleet = "one"\nalice = two\n')
    assert not rejection(guard, WRITE, token="two")
    assert "line 3" in caplog.text
    files[0].path.write_text('[tokens]\nfleet = "one"\n')
    assert rejection(guard, WRITE, token="two")
    assert not any(f'"{token}"' in caplog.text for token in ("one", "two"))
