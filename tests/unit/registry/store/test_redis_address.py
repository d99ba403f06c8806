"""The address of a Redis, as `--store redis://...` gives it."""

import pytest

from svc.base.errors import ConfigError
from svc.registry.store.redis_address import RedisAddress, masked, parse, read_password


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://here", RedisAddress("redis", "here")),
        ("redis://here:7000/3?prefix=lab", RedisAddress("redis", "here", 7000, db=3, prefix="lab")),
        ("redis://:p%40ss@here", RedisAddress("redis", "here", password="p@ss")),
        ("redis://ann:word@[::1]:7000", RedisAddress("redis", "::1", 7000, username="ann", password="word")),
        ("rediss://here/?ca=/etc/ca.pem", RedisAddress("rediss", "here", ca="/etc/ca.pem")),
        ("unix:///run/redis.sock?db=2&prefix=a:b", RedisAddress("unix", path="/run/redis.sock", db=2, prefix="a:b")),
    ],
)
def test_a_url_is_parsed(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://", "the host is missing"),
        ("redis://here/x", "the database must be a whole number"),
        ("redis://here?perfix=a", "unknown option 'perfix'; there are prefix"),
        ("redis://here?prefix=a b", "the prefix must be"),
        ("redis://secret@here", "it names a user but no password"),
        ("redis://:sec/ret@here", "it is no URL"),
        ("redis://here:port", "it is no URL"),
        ("unix://run/redis.sock", "must be absolute"),
    ],
)
def test_an_error_names_the_problem_and_shows_no_password(url, problem):
    with pytest.raises(ConfigError) as failure:
        parse(url)
    assert problem in failure.value.message
    assert "redis://HOST:PORT/DB" in failure.value.message
    assert "sec" not in failure.value.message


def test_a_password_and_a_password_file_exclude_each_other():
    assert parse("redis://ann@here", "file").username == "ann"
    with pytest.raises(ConfigError, match="give one of them"):
        parse("redis://:secret@here", "file")


def test_an_address_as_text_has_no_secret():
    address = parse("redis://ann:secret@here:7000/1")
    assert str(address) == "redis://here:7000/1"
    assert "secret" not in repr(address)
    assert masked("redis://ann:sec@ret@here") == "redis://***@here"


def test_the_password_file_is_read_as_text(tmp_path):
    file = tmp_path / "password"
    file.write_text("wörd\n")
    assert read_password(str(file)) == "wörd"
    file.write_text("\n")
    with pytest.raises(ConfigError, match=f"{file}: the file is empty"):
        read_password(str(file))
    file.write_bytes(b"w\xf6rd\n")
    with pytest.raises(ConfigError, match=f"{file}: the password is not UTF-8"):
        read_password(str(file))
    with pytest.raises(ConfigError, match="nowhere: cannot read the file that store_password_file names: No such file"):
        read_password("nowhere")
