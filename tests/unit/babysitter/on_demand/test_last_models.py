"""The file with the models of the last life, whatever it contains."""

import os

import pytest

from svc.babysitter.on_demand.last_models import LastLife, LastModelsFile

LIFE = LastLife(({"id": "a", "max_model_len": 4096},), 14.2, "1234")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "qwen.models.json"


def test_a_file_is_read_as_it_was_written(path):
    LastModelsFile(path).write(LIFE)
    assert LastModelsFile(path).read() == LIFE


def test_no_file_is_an_empty_life_and_nothing_is_logged(path, caplog):
    assert LastModelsFile(path).read() == LastLife()
    assert not caplog.records


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b'{"models": [{"id": "a"}',
        b'{"models": [{"id": 7}]}',
        b'{"models": [{}]}',
        b'{"models": "a"}',
        b'{"models": [1]}',
        b'{"load_seconds": "long"}',
        b'{"load_seconds": -1}',
        b"[" * 200_000,
        b"\xff\xfe",
        b'{"models": [' + b",".join(b'{"id": "%d"}' % n for n in range(300)) + b"]}",
        b'{"models": [{"id": "' + b"x" * (1 << 20) + b'"}]}',
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_a_broken_file_counts_as_none_and_is_logged_once(path, content, caplog):
    path.parent.mkdir()
    path.write_bytes(content)
    assert LastModelsFile(path).read() == LastLife()
    (record,) = caplog.records
    assert "cannot use it" in record.message
    assert record.exc_info is None


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_directory_or_a_pipe_in_its_place_does_not_block(path, make, caplog):
    path.parent.mkdir()
    make(path)
    assert LastModelsFile(path).read() == LastLife()
    assert len(caplog.records) == 1


def test_an_unchanged_life_is_not_written_again(path):
    file = LastModelsFile(path)
    file.write(LIFE)
    path.unlink()
    file.write(LIFE)
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_logged_once(path, caplog):
    path.parent.write_text("no directory")
    file = LastModelsFile(path)
    for number in range(3):
        file.write(LastLife(load_seconds=number))
    (record,) = caplog.records
    assert "cannot write it" in record.message


def test_what_could_not_be_written_is_written_once_there_is_room(tmp_path):
    path = tmp_path / "var" / "a.models.json"
    path.parent.write_text("no directory")
    file = LastModelsFile(path)
    file.write(LIFE)
    path.parent.unlink()
    file.write(LIFE)
    assert LastModelsFile(path).read() == LIFE
