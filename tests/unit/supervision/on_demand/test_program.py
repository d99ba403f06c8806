import pytest

from svc.supervision.on_demand.program import Program, read_program


def test_a_program_without_these_variables_takes_no_part():
    assert read_program("router", {"SVC_MAX_RESTARTS": "3"}) is None
    assert read_program("router", None) is None


def test_the_variables_that_svc_renders_are_read():
    environment = {
        "SVC_GPUS": "1,0",
        "SVC_GPU_MEMORY": "38000000000",
        "SVC_ON_DEMAND": "1",
        "SVC_KEEP": "1",
        "SVC_MIN_AWAKE": "30.5",
        "SVC_SLEEP": "vllm",
    }
    expected = Program("a:server", (0, 1), 0, 38_000_000_000, True, True, 30.5, "vllm")
    assert read_program("a:server", environment) == expected
    assert read_program("a:server", {"SVC_GPU_COUNT": "2"}) == Program("a:server", count=2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SVC_GPUS", "0,x"),
        ("SVC_GPU_COUNT", "-1"),
        ("SVC_GPU_MEMORY", "38GB"),
        ("SVC_MIN_AWAKE", "nan"),
        ("SVC_SLEEP", "deep"),
    ],
)
def test_an_invalid_variable_is_named(variable, value):
    with pytest.raises(ValueError, match=variable):
        read_program("a:server", {"SVC_ON_DEMAND": "1", variable: value})
