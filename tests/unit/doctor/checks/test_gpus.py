"""Findings about GPUs."""

import dataclasses

import pytest

from svc.config.instance.model import MockBackend, VllmBackend
from svc.doctor.findings import PROBLEM, WARNING
from svc.doctor.machine_gpus import Gpus, GpuStranger
from svc.protocol.gpu_report import Gpu, GpuProcess
from svc.protocol.resources import Resources
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import findings


def configs(**env: dict[str, str]):
    return {
        name: dataclasses.replace(sample_site.config(name, 8100), backend=MockBackend(models=("m",), env=given))
        for name, given in env.items()
    }


def test_a_gpu_that_does_not_exist():
    result = findings(configs=configs(a={"CUDA_VISIBLE_DEVICES": "1,7"}), gpus=Gpus((0, 1)))
    assert "GPU 7" in result["gpu.a"].summary
    assert result["gpu.a"].severity == PROBLEM


def test_a_machine_without_gpus():
    assert findings(configs=configs(a={"CUDA_VISIBLE_DEVICES": "0"}))["gpu.a"].severity == WARNING
    assert findings(configs=configs(a={"CUDA_VISIBLE_DEVICES": ""})) == {}


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "HPCC_VISIBLE_DEVICES"])
def test_two_instances_on_one_gpu(variable):
    result = findings(configs=configs(a={variable: "0,1"}, b={variable: "1"}), gpus=Gpus((0, 1)))
    assert [f.summary for f in result.values()] == ["a and b share GPU 1"]


def test_two_engines_without_a_setting_share_the_first_gpu():
    both = {name: dataclasses.replace(sample_site.config(name, 8100), backend=VllmBackend(model="m")) for name in "ab"}
    result = findings(configs=both, gpus=Gpus((0, 1)))
    assert [f.summary for f in result.values()] == ["a and b share GPU 0"]


def test_gpus_are_known_by_their_uuid():
    gpus = Gpus((0,), ("GPU-aaaa-1", "GPU-bbbb-2"))
    assert findings(configs=configs(a={"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}), gpus=gpus) == {}
    assert findings(configs=configs(a={"CUDA_VISIBLE_DEVICES": "GPU-cccc"}), gpus=gpus)["gpu.a"].severity == PROBLEM


def needing(**fields):
    config = sample_site.config("a", 8100)
    return {"a": dataclasses.replace(config, backend=MockBackend(models=("m",)), resources=Resources(**fields))}


def machine(*gpus, **more):
    return Gpus([gpu.index for gpu in gpus], (), more.pop("problem", ""), "npu-smi", gpus, **more)


TWO = (Gpu(index=0), Gpu(index=1))


def test_resources_that_the_machine_has_are_no_finding():
    for fields in ({"gpus": (0, 1)}, {"count": 2, "memory": 5}):
        assert findings(configs=needing(**fields), gpus=machine(*TWO)) == {}


@pytest.mark.parametrize(("fields", "text"), [({"gpus": (1, 4, 5)}, "needs GPU 4, 5"), ({"count": 3}, "needs 3 GPUs")])
def test_resources_that_the_machine_does_not_have(fields, text):
    finding = findings(configs=needing(**fields), gpus=machine(*TWO))["gpu.resources.a"]
    assert text in finding.summary
    assert (finding.severity, finding.evidence) == (PROBLEM, "npu-smi lists 0, 1")


def test_a_tool_that_fails_is_named_and_nothing_is_called_absent():
    hanging = machine(problem="npu-smi does not answer within 5 s")
    result = findings(configs=needing(gpus=(0,)), gpus=hanging)
    assert [(f.key, f.summary, f.fix) for f in result.values()] == [("gpu.driver", "npu-smi fails", "npu-smi")]


def test_errors_and_broken_gpus():
    gpus = machine(Gpu(index=0, errors=3), Gpu(index=1, fault="GPU requires reset", errors=9))
    result = findings(configs=needing(gpus=(0,)), gpus=gpus)
    assert {key: f.severity for key, f in result.items()} == {
        "gpu.errors.0": WARNING,
        "gpu.fault.1": PROBLEM,
    }
    assert "3 errors" in result["gpu.errors.0"].summary


def test_a_process_of_no_instance_that_holds_much_memory():
    much = GpuStranger(4711, "python3 train.py", (0, 1), 3_000_000_000)
    unknown = GpuStranger(4712, "java", (1,), None)
    little = GpuStranger(4713, "Xorg", (0,), 90_000_000)
    result = findings(configs=needing(gpus=(0,)), gpus=machine(*TWO, strangers=(much, unknown, little)))
    assert {finding.key: (finding.summary, finding.evidence, finding.fix) for finding in result.values()} == {
        "gpu.stranger.4711": (
            "pid 4711 holds 3 GB of GPU 0, 1, and belongs to no instance",
            "python3 train.py",
            "kill 4711",
        ),
        "gpu.stranger.4712": ("pid 4712 holds memory of GPU 1, and belongs to no instance", "java", "kill 4712"),
    }


def test_a_machine_whose_instances_use_no_gpu_is_left_alone():
    gpus = machine(Gpu(index=0, errors=3), strangers=(GpuStranger(1, "game", (0,), 5_000_000_000),))
    assert findings(configs=configs(a={}), gpus=gpus) == {}
    used = Gpu(index=0, errors=3, processes=(GpuProcess(pid=1, instance="a"),))
    assert findings(configs=configs(a={}), gpus=machine(used)).keys() == {"gpu.errors.0"}
