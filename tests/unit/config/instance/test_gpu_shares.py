"""What `svc check` says of instances that a host's GPUs cannot hold."""

import pytest

from svc.config.instance.gpu_shares import gpu_share_warnings
from svc.config.instance.model import MockBackend
from svc.protocol.resources import Resources
from tests.unit.instance_configs import instance_config

GB = 10**9


def instance(name, gpus=(0,), memory=0, count=0, **changed):
    needs = Resources(gpus=() if count else gpus, count=count, memory=memory * GB)
    return instance_config(name=name, source=f"{name}.toml", resources=needs, **changed)


def on_demand(name, *args, **changed):
    return instance(name, *args, on_demand=True, **changed)


def warnings(*configs, **totals):
    memory = {int(gpu.removeprefix("gpu")): total * GB for gpu, total in totals.items()}
    return list(gpu_share_warnings(configs, memory))


def test_instances_that_make_room_for_each_other_are_right():
    assert not warnings(*(on_demand(name) for name in "abcd"))
    assert not warnings(*(on_demand(name, (0,), 70) for name in "abcd"), gpu0=80)
    assert not warnings(instance("a", (0,), 40), on_demand("b", (0,), 40), gpu0=80)
    assert not warnings(instance("a", (0,), 40), instance("b", (0,), 40))  # the size of the GPU is unknown


def test_instances_without_resources_are_not_counted():
    assert not warnings(instance_config(name="a"), instance_config(name="b"), gpu0=80)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (on_demand("a", (0,), 90), "resources.gpu_memory: it needs 90 GB, and GPU 0 has 80 GB"),
        (instance("a", (1, 3), 10), "resources.gpus: this machine has no GPU 3; it has 0, 1"),
        (on_demand("a", count=3), "resources.gpus: it needs 3 GPUs, and this machine has 2"),
        (
            on_demand("a", memory=50, count=2),
            "resources.gpus: it needs 2 GPUs with 50 GB, and this machine has 1",
        ),
    ],
)
def test_an_instance_may_be_too_large_for_this_machine(config, reason):
    cure = "; correct it, unless the instance runs on another machine"
    assert warnings(config, gpu0=80, gpu1=40) == [f"a.toml: {reason}{cure}"]
    assert not warnings(config)  # this machine has no GPUs that are known


def test_sizes_that_look_equal_are_shown_with_more_digits():
    [warning] = gpu_share_warnings([on_demand("a", (0,), 80)], {0: 80 * GB - 991232})
    assert "it needs 80 GB, and GPU 0 has 79.9990088 GB" in warning


def test_instances_that_never_make_room_must_fit_together():
    kept = [instance("a", (0,), 50), on_demand("b", (0, 1), 40, keep=True)]
    assert warnings(*kept, gpu0=80, gpu1=80) == [
        "b.toml: resources.gpus: GPU 0 cannot hold a, b together (they need 90 GB, and it has 80 GB), and none of them "
        "makes room; move one to another GPU, or give it on_demand = true without keep"
    ]
    assert not warnings(*kept, gpu0=90, gpu1=80)


def test_two_always_on_instances_cannot_both_have_a_whole_gpu():
    (warning,) = warnings(instance("a", (0,), 50), instance("b"))
    assert "GPU 0 cannot hold a, b together (b needs all of it: it has no gpu_memory)" in warning


def test_an_on_demand_instance_must_fit_beside_those_that_are_always_on():
    assert warnings(instance("a", (0,), 50), on_demand("b", (0,), 40), gpu0=80) == [
        "b.toml: resources.gpus: it can never wake, because GPU 0 cannot hold it beside a (they need 90 GB, and it has "
        "80 GB); move it to another GPU, or give a on_demand = true"
    ]
    (warning,) = warnings(instance("a", (0,), 50), on_demand("b"))
    assert warning.startswith(
        "b.toml: resources.gpus: it can never wake, because GPU 0 cannot hold it beside a (b needs"
    )


def test_an_instance_on_the_gpu_of_others_should_say_what_it_needs():
    other = instance_config(
        name="x", source="x.toml", backend=MockBackend(models=("m",), env={"CUDA_VISIBLE_DEVICES": "2,1"})
    )
    assert warnings(on_demand("a", (1, 2), 10), other) == [
        "x.toml: resources: missing, so that what it needs of GPU 2 (CUDA_VISIBLE_DEVICES) is not kept free of a; give "
        "it [resources], too"
    ]
    assert not warnings(on_demand("a", (0,), 10), other)


@pytest.mark.parametrize(("devices", "is_wrong"), [("1", True), ("0,1", False), ("MIG-1", False), ("", False)])
def test_the_toml_should_not_make_other_gpus_visible(devices, is_wrong):
    backend = MockBackend(models=("m",), env={"CUDA_VISIBLE_DEVICES": devices})
    found = warnings(on_demand("a", (0, 1), 10, backend=backend))
    assert [text.partition(": wins")[0] for text in found] == ["a.toml: backend.env.CUDA_VISIBLE_DEVICES"] * is_wrong
