"""An instance's variables pass through the environment of `svc launch` unchanged and without effect on it."""

import pytest

from svc.protocol.shim_variables import PREFIX, decoded, encoded


@pytest.mark.parametrize("value", ["", "plain", "%41", "100%", "a\"b'c\\d", "%(here)s", "ü\n\t;#,"])
def test_a_value_is_decoded_to_itself(value):
    assert decoded(dict([encoded("NAME", value)])) == {"NAME": value}


def test_syntax_of_supervisord_is_percent_encoded():
    assert encoded("NAME", "a\"b'c\\d%")[1] == "a%22b%27c%5Cd%25"


def test_an_encoded_variable_does_not_affect_svc_launch():
    assert encoded("LD_PRELOAD", "x.so")[0] == PREFIX + "LD_PRELOAD"


def test_an_encoded_variable_replaces_the_inherited_one():
    environment = {"PATH": "/usr/bin", "HOME": "/root", PREFIX + "PATH": "/opt/bin"}
    assert decoded(environment) == {"PATH": "/opt/bin", "HOME": "/root"}
