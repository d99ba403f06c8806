"""The keys of a TOML that say what an instance needs of the GPUs, and when it sleeps."""

import pytest

from svc.base.errors import ConfigError
from svc.config.instance.load import load_one
from svc.config.settings_file import load_settings
from svc.protocol.resources import Resources

TOP = 'name = "a"\nport = 8100\n'


@pytest.fixture
def load(tmp_path):
    def load(lines, kind='type = "mock"\nmodels = ["m"]'):
        path = tmp_path / "a.toml"
        path.write_text(f"{TOP}{lines}\n[backend]\n{kind}\n")
        return load_one(path, load_settings())

    return load


def problems_of(load, *arguments):
    with pytest.raises(ConfigError) as caught:
        load(*arguments)
    return [problem.split(": ", 1)[1] for problem in caught.value.problems]


def test_without_the_keys_an_instance_is_always_on_and_needs_nothing(load):
    config = load("")
    assert not config.resources
    assert (config.on_demand, config.keep, config.sleep) == (False, False, "stop")
    assert (config.idle_after, config.min_awake, config.wake_timeout) == (900, 60, 600)


@pytest.mark.parametrize(
    ("lines", "resources", "gpu_count"),
    [
        ("gpus = [0]", Resources(gpus=(0,)), 1),
        ('gpus = [2, 0]\ngpu_memory = "38GB"', Resources(gpus=(2, 0), memory=38 * 10**9), 2),
        ('gpus = 2\ngpu_memory = "38GiB"', Resources(count=2, memory=38 * 2**30), 2),
        ("gpus = 64\ngpu_memory = 5000000", Resources(count=64, memory=5_000_000), 64),
    ],
)
def test_resources_are_certain_gpus_or_a_number_of_them(load, lines, resources, gpu_count):
    config = load(f"[resources]\n{lines}")
    assert config.resources == resources
    assert config.resources
    assert config.resources.gpu_count == gpu_count


def test_every_key_of_an_on_demand_instance(load):
    config = load(
        '[babysitter]\non_demand = true\nidle_after = 0\nmin_awake = 0\nwake_timeout = 30\nkeep = true\nsleep = "vllm"'
    )
    assert (config.on_demand, config.keep, config.sleep) == (True, True, "vllm")
    assert (config.idle_after, config.min_awake, config.wake_timeout) == (0, 0, 30)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("gpus = []", "resources.gpus: must not be empty; name a GPU, such as [0], or remove [resources]"),
        ("gpus = [0, 1, 0]", "resources.gpus: names GPU 0 twice; name it once"),
        ("gpus = [64]", "resources.gpus[0]: must be between 0 and 63, not 64"),
        ('gpus = ["0"]', "resources.gpus[0]: must be a whole number, not '0'"),
        ('gpus = "0,1"', "resources.gpus: must be indexes or a number, not '0,1'; write [0, 1] for these two"),
        ("gpus = true", "resources.gpus: must be indexes or a number, not true"),
        ("gpus = 0", "resources.gpus: must be between 1 and 64, not 0"),
        ("gpus = 65", "resources.gpus: must be between 1 and 64, not 65"),
        ("", "resources.gpus: missing; give the GPUs, such as gpus = [0], or their number"),
        ('gpus = 1\ngpu_memory = "lots"', "resources.gpu_memory: 'lots' is no size; write it like \"24GiB\""),
        ("gpus = 1\ngpu_memory = 0", "resources.gpu_memory: must not be 0; remove the key"),
        (
            "gpus = 1\ngpu_memory = 38",
            'resources.gpu_memory: 38 is less than any server needs; write it with its unit, such as "38GB"',
        ),
        ('gpus = 1\ngpu_memory = "0GB"', "resources.gpu_memory: '0GB' is less than any server needs; write it with"),
        ("gpus = 1\nmemory = 1", "resources.memory: unknown key; did you mean gpu_memory?"),
    ],
)
def test_wrong_resources_are_errors(load, lines, problem):
    assert [found.startswith(problem) for found in problems_of(load, f"[resources]\n{lines}")] == [True]


def test_resources_must_be_a_section(load):
    assert problems_of(load, "resources = 2") == ["resources: must be a section, not 2; write [resources]"]


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(load):
    assert problems_of(load, "[babysitter]\ngpus = 1") == ["babysitter.gpus: unknown key; it belongs in [resources]"]
    assert problems_of(load, "[resources]\ngpus = 1\non_demand = true") == [
        "resources.on_demand: unknown key; it belongs in [babysitter]"
    ]


def test_the_sleep_mode_of_vllm_needs_a_server_that_may_have_it(load):
    lines = '[babysitter]\nsleep = "vllm"'
    assert problems_of(load, lines, 'type = "infinilm-rust"\nconfig_file = "f"') == [
        "babysitter.sleep: a server of type infinilm-rust has no sleep mode; remove the key"
    ]
    assert load(lines, 'type = "command"\ncommand = "vllm serve m"').sleep == "vllm"


@pytest.mark.parametrize("key", ["on_demand", "wake_timeout", "load_seconds", "resources"])
def test_the_metadata_of_on_demand_instances_is_the_babysitters(load, key):
    assert problems_of(load, f"[metadata]\n{key} = 1") == [
        f"metadata.{key}: is set by the babysitter itself; choose another key"
    ]


@pytest.mark.parametrize("lines", ["[resources]\ngpus = 1", "[babysitter]\non_demand = true"])
def test_a_babysitter_must_know_the_new_values(load, lines):
    assert load("").digest() != load(lines).digest()
    assert load("[resources]\ngpus = 1").digest() != load("[resources]\ngpus = [1]").digest()
