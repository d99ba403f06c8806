import pytest

from svc.supervision.policy import make, search_paths


def test_svc_comes_first_and_the_operators_path_is_kept():
    assert search_paths({"PATH": "/usr/bin:/bin"}, "/opt/svc/bin") == {
        "PATH": "/opt/svc/bin:/usr/bin:/bin",
        "SVC_PATH": "/usr/bin:/bin",
    }


def test_a_reload_leaves_the_paths_as_they_are():
    once = search_paths({"PATH": "/bin"}, "/opt/svc/bin")
    assert search_paths(once, "/opt/svc/bin") == {}


def test_an_activated_environment_is_the_operators_own_path():
    told = search_paths({"PATH": "/opt/svc/bin:/bin"}, "/opt/svc/bin")
    assert told["SVC_PATH"] == "/opt/svc/bin:/bin"


def test_unknown_keys_of_the_section_are_an_error():
    with pytest.raises(ValueError, match="max_restart"):
        make(None, max_restart="3")
