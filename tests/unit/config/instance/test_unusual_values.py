import pytest

from svc.config.instance.model import CommandBackend, InfinilmRustBackend, VllmBackend
from svc.config.instance.unusual_values import unusual_values
from svc.protocol.resources import Resources
from tests.unit.instance_configs import instance_config


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"backend": InfinilmRustBackend(config_file="c.toml")}, "a backend of type infinilm-rust reports no load"),
        ({"load_interval": 0}, "with load_interval = 0"),
        ({"registry_urls": ()}, "without a registry"),
        ({}, ""),
    ],
)
def test_auto_is_unusual_for_an_engine_that_reports_no_load(changed: dict[str, object], reason: str):
    warnings = list(unusual_values(instance_config(metadata={"max_concurrency": "auto"}, **changed)))
    assert bool(warnings) is bool(reason)
    assert all(reason in warning and "max_concurrency" in warning for warning in warnings)
    assert not list(unusual_values(instance_config(metadata={"max_concurrency": 8}, **changed)))


def warnings_of(**changed: object) -> list[str]:
    config = instance_config(**{"resources": Resources(gpus=(0,)), **changed})
    return [text.removeprefix("config/qwen.toml: ") for text in unusual_values(config)]


@pytest.mark.parametrize(
    "changed", [{"keep": True}, {"sleep": "vllm"}, {"idle_after": 0}, {"min_awake": 1}, {"wake_timeout": 1}]
)
def test_keys_of_on_demand_instances_have_no_effect_on_others(changed: dict[str, object]):
    (key,) = changed
    assert warnings_of(**changed) == [
        f"babysitter.{key}: has no effect without on_demand = true; add that, or remove the key"
    ]
    assert not warnings_of(on_demand=True, **changed)


def test_an_instance_that_is_kept_awake_is_never_idle():
    assert warnings_of(on_demand=True, keep=True, idle_after=60) == [
        "babysitter.idle_after: has no effect beside keep = true; remove one of them"
    ]


def test_requests_should_wait_as_long_as_a_start_may_take():
    (warning,) = warnings_of(on_demand=True, startup_timeout=900)
    assert "requests wait 600 s for an instance that may take 900 s" in warning
    assert not warnings_of(on_demand=True, startup_timeout=900, wake_timeout=900)


def test_the_models_of_an_instance_that_never_ran_should_be_known():
    command = CommandBackend(command=("serve",))
    (warning,) = warnings_of(on_demand=True, backend=command, metadata={})
    assert "metadata.models: missing" in warning
    assert "svc wake qwen" in warning
    assert not warnings_of(on_demand=True, backend=command, metadata={"models": ["m"]})
    assert not warnings_of(backend=command, metadata={})
    named = CommandBackend(command=("llama-server",), args=("--alias", "m"))
    assert not warnings_of(on_demand=True, backend=named, metadata={})


def test_nothing_makes_room_for_an_instance_without_resources():
    (warning,) = warnings_of(on_demand=True, resources=Resources())
    assert warning.startswith("resources: missing, so that it starts whether its GPUs have room or not")
    assert "add [resources]" in warning
    assert not warnings_of(resources=Resources())


def test_the_sleep_mode_of_vllm_needs_a_flag_and_a_variable():
    assert [
        text.partition(",")[0] for text in warnings_of(on_demand=True, sleep="vllm", backend=VllmBackend(model="m"))
    ] == [
        'backend.args: missing "--enable-sleep-mode"',
        'backend.env: missing VLLM_SERVER_DEV_MODE = "1"',
    ]
    ready = VllmBackend(model="m", args=("--enable-sleep-mode",), env={"VLLM_SERVER_DEV_MODE": "1"})
    assert not warnings_of(on_demand=True, sleep="vllm", backend=ready)
