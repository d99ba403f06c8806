"""The key or token that an operator's commands send to a router."""

import pytest

from svc.base.errors import CommandError
from svc.cli.operator_options import operator_headers


def test_key_and_token_are_read_from_their_files(tmp_path):
    key, token = tmp_path / "key", tmp_path / "token"
    key.write_text("of-the-router\n")
    token.write_text("of-the-registry\n")
    assert operator_headers(None, None) == {}
    expected = {"Authorization": "Bearer of-the-router", "X-Operator-Token": "of-the-registry"}
    assert operator_headers(str(key), str(token)) == expected


@pytest.mark.parametrize(("files", "option"), [(("gone", None), "--key-file"), ((None, "gone"), "--token-file")])
def test_the_option_of_a_file_that_cannot_be_read_is_named(tmp_path, files, option):
    with pytest.raises(CommandError, match=f"cannot read it: No such file or directory; correct {option}"):
        operator_headers(*(file and str(tmp_path / file) for file in files))
