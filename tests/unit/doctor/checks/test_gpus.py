"""Findings about GPUs."""

import dataclasses

import pytest

from svc.config.instance.model import MockBackend, VllmBackend
from svc.doctor.facts import (
    Gpus,
)
from svc.doctor.findings import PROBLEM, WARNING
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
