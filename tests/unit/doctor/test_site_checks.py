"""SiteFiles, disks, tokens, GPUs, versions, clocks: what lies around the programs."""

import dataclasses

import pytest

from svc.config.instance.model import MockBackend, VllmBackend
from svc.config.settings_file import load_settings
from svc.doctor.checks import all_checks
from svc.doctor.collect import machine_facts
from svc.doctor.facts import (
    API_KEYS,
    ENGINE_KEY,
    UPSTREAM_KEYS,
    Disk,
    Facts,
    Gpus,
    HostName,
    Leftover,
    OpenFiles,
    SecretFileFacts,
    SiteFiles,
    SupervisordFacts,
    Uncollected,
)
from svc.doctor.findings import PROBLEM, WARNING, ordered
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import facts, found


def test_a_site_that_is_well_has_no_findings():
    assert found() == {}
    assert all_checks.healthy_subjects(facts())[0] == "site files"


def test_nothing_is_said_to_be_well_that_was_not_looked_at():
    nothing = Facts(files=SiteFiles(present=False))
    assert not {"programs", "registry", "babysitters", "instances", "router", "models", "GPUs"} & {
        *all_checks.healthy_subjects(nothing)
    }


# SiteFiles.


def test_no_site():
    assert [f.key for f in all_checks.findings(Facts(files=SiteFiles(present=False)))] == ["files.none"]


def test_each_error_of_the_files():
    told = found(files=SiteFiles(errors=["config/a.toml: port: missing", "config/b.toml: x: unknown key"]))
    assert [f.summary for f in told.values()] == ["config/a.toml: port: missing", "config/b.toml: x: unknown key"]
    assert all(f.severity == PROBLEM and f.fix == "svc up" for f in told.values())


def test_stale_files_and_what_runs_otherwise():
    told = found(files=SiteFiles(stale=["conf.d/a.conf: changed"]), pending_changes=["b: changed (command)"])
    assert {key: f.severity for key, f in told.items()} == {"files.stale": WARNING, "files.pending": WARNING}
    assert "conf.d/a.conf" in told["files.stale"].evidence


def test_a_babysitter_that_has_not_read_its_file():
    told = found(
        digests={"a": "new", "b": "same"},
        instance_probes={
            "a": sample_site.sidecar("a", config="old"),
            "b": sample_site.sidecar("b", config="same"),
        },
    )
    assert "config/a.toml" in told["files.pending"].evidence
    assert "config/b.toml" not in told["files.pending"].evidence


def test_a_site_that_runs_from_var():
    assert found(files=SiteFiles(runs_from_var=True))["files.own"].severity == WARNING


# Disks and open files.


@pytest.mark.parametrize(
    ("disk", "severity"),
    [
        (Disk("var", free=1 << 20), PROBLEM),
        (Disk("var", inodes=0.0), PROBLEM),
        (Disk("var", writable=False), PROBLEM),
        (Disk("var", free=500 << 20), WARNING),
        (Disk("var", inodes=0.01), WARNING),
        (Disk("var", free=40 << 20, size=50 << 20), PROBLEM),
    ],
)
def test_disks(disk, severity):
    [told] = found(disks=[disk]).values()
    assert (told.key, told.severity) == ("disk.var", severity)


def test_open_files():
    told = found(
        open_files=[OpenFiles("router", 900, 1000), OpenFiles("registry", 10, 256), OpenFiles("a:server", 900, 20000)]
    )
    assert {f.key: f.severity for f in told.values()} == {"open.router": PROBLEM, "open.registry": WARNING}


# Tokens.


@pytest.mark.parametrize(
    ("secret", "said", "severity"),
    [
        (SecretFileFacts("t", "token_file", missing=True), "no such file", PROBLEM),
        (SecretFileFacts("t", "token_file", problem="permission denied"), "permission denied", PROBLEM),
        (SecretFileFacts("t", "token_file", word_count=0), "is empty", PROBLEM),
        (SecretFileFacts("t", "token_file", word_count=2), "is no token", PROBLEM),
        (SecretFileFacts("t", "token_file", mode=0o644), "readable by all users", WARNING),
        (SecretFileFacts("t", "keys_file", missing=True, kind=API_KEYS), "no such file", PROBLEM),
        (SecretFileFacts("t", "keys_file", errors=("t: not TOML",), kind=API_KEYS), "cannot be used", PROBLEM),
        (SecretFileFacts("t", "api_key_file", word_count=2, kind=ENGINE_KEY), "is no key", PROBLEM),
        (
            SecretFileFacts("t", "upstream_keys_file", word_count=9, mode=0o644, kind=UPSTREAM_KEYS),
            "readable by all users",
            WARNING,
        ),
        (
            SecretFileFacts("t", "upstream_keys_file", kind=UPSTREAM_KEYS, errors=("t: not TOML",)),
            "cannot be used",
            PROBLEM,
        ),
    ],
)
def test_tokens(secret, said, severity):
    [told] = found(secrets=[secret]).values()
    assert said in told.summary
    assert told.severity == severity


def test_a_token_that_its_group_may_read_is_well():
    assert found(secrets=[SecretFileFacts("t", "token_file", mode=0o640)]) == {}


# Leftovers.


def test_leftovers_while_supervisord_runs_are_killed_one_by_one():
    told = found(leftovers=[Leftover(41, "vllm"), Leftover(42, "vllm")])
    assert told["leftovers"].fix == "kill -9 41 42"


def test_leftovers_and_nothing_else_are_the_cause_that_nothing_runs():
    left = {"leftovers": [Leftover(41, "vllm")], "supervisord": SupervisordFacts()}
    [first, *_] = ordered(all_checks.findings(facts(**left)))
    assert first.finding.key == "leftovers"
    assert first.finding.fix == "svc down && svc up"
    assert "supervisord.down" in {f.key for f in first.all()}


# GPUs.


def configs(**env: dict[str, str]):
    return {
        name: dataclasses.replace(sample_site.config(name, 8100), backend=MockBackend(models=("m",), env=given))
        for name, given in env.items()
    }


def test_a_gpu_that_is_not_there():
    told = found(configs=configs(a={"CUDA_VISIBLE_DEVICES": "1,7"}), gpus=Gpus((0, 1)))
    assert "GPU 7" in told["gpu.a"].summary
    assert told["gpu.a"].severity == PROBLEM


def test_a_machine_that_shows_no_gpu():
    assert found(configs=configs(a={"CUDA_VISIBLE_DEVICES": "0"}))["gpu.a"].severity == WARNING
    assert found(configs=configs(a={"CUDA_VISIBLE_DEVICES": ""})) == {}


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "HPCC_VISIBLE_DEVICES"])
def test_two_instances_on_one_gpu(variable):
    told = found(configs=configs(a={variable: "0,1"}, b={variable: "1"}), gpus=Gpus((0, 1)))
    assert [f.summary for f in told.values()] == ["a and b share GPU 1"]


def test_two_engines_that_were_told_of_no_gpu_share_the_first():
    both = {name: dataclasses.replace(sample_site.config(name, 8100), backend=VllmBackend(model="m")) for name in "ab"}
    told = found(configs=both, gpus=Gpus((0, 1)))
    assert [f.summary for f in told.values()] == ["a and b share GPU 0"]


def test_gpus_by_their_uuid():
    gpus = Gpus((0,), ("GPU-aaaa-1", "GPU-bbbb-2"))
    assert found(configs=configs(a={"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}), gpus=gpus) == {}
    assert found(configs=configs(a={"CUDA_VISIBLE_DEVICES": "GPU-cccc"}), gpus=gpus)["gpu.a"].severity == PROBLEM


# Versions, clocks, names, what could not be sample_site.


def test_what_runs_is_older_than_what_is_installed():
    told = found(svc_version="2+y")["version.old"]
    assert told.severity == WARNING
    assert "supervisord" in told.summary
    assert told.fix == "svc down && svc up"


def test_only_one_program_is_older():
    old = dataclasses.replace(sample_site.sidecar("a"), health=dataclasses.replace(sample_site.answer(), version="0+w"))
    told = found(instance_probes={"a": old, "b": sample_site.sidecar("b")})["version.old"]
    assert told.fix == "supervisorctl restart a:babysitter"


def test_a_registry_elsewhere_of_another_version_and_packages_that_are_missing():
    other = dataclasses.replace(
        sample_site.registry(), is_local=False, health=dataclasses.replace(sample_site.registry().health, version="2+z")
    )
    told = found(registries=[other], package_problems=["gevent is missing"])
    assert told["version.http://127.0.0.1:18000"].severity == WARNING
    assert told["version.packages"].severity == PROBLEM


@pytest.mark.parametrize(("ahead", "word"), [(7.0, "7 s ahead of"), (-90.0, "90 s behind"), (1.9, "")])
def test_clocks(ahead, word):
    health = dataclasses.replace(sample_site.registry().health, clock_ahead=ahead)
    told = [f.summary for f in found(registries=[sample_site.registry(health=health)]).values()]
    assert bool(told) == bool(word)
    assert all(word in what for what in told)


def test_names_that_are_not_known_and_hosts_that_are_not_here():
    component = dataclasses.replace(sample_site.COMPONENTS[2], host="10.9.9.9")
    components = [*sample_site.COMPONENTS[:2], component]
    there = HostName("10.9.9.9", ("10.9.9.9",), is_local=False)
    told = found(
        components=components,
        host_names={"10.9.9.9": there},
        registries=[sample_site.registry([sample_site.service("a", 8100, host="10.9.9.9")])],
    )
    assert "host.a" in told
    away = dataclasses.replace(sample_site.registry(), url="http://control:18000", is_local=False)
    assert "dns.control" in found(
        registries=[away], host_names={"control": HostName("control", (), False, "not known")}
    )


def test_what_could_not_be_seen_is_told():
    [told] = found(uncollected=[Uncollected("GPUs", "not over in time")]).values()
    assert told.severity == WARNING


def test_settings_may_be_missing():
    assert found(settings=None) == {}
    assert load_settings()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--api-key", "sk-hidden"), "a secret (api-key)"),
        (("--db", "postgres://user:sk-hidden@db/x"), "a secret"),
        (("--api-key-file", "/etc/key", "--max-tokens", "9"), ""),
    ],
)
def test_a_secret_on_a_command_line_is_a_warning_that_does_not_show_it(args, said):
    config = sample_site.config("a", 8100, backend=MockBackend(models=("m",), args=args))
    told = found(configs={"a": config})
    if not said:
        assert told == {}
        return
    finding = told["command_line.a"]
    assert finding.severity == WARNING
    assert said in finding.summary
    assert "sk-hidden" not in str(finding)


def test_a_mode_is_not_the_cause_of_a_refused_key():
    secret = SecretFileFacts("keys", "upstream_keys_file", mode=0o644, kind=UPSTREAM_KEYS)
    assert not any(key.startswith("token.") for key in found(secrets=[secret]))


def test_the_routers_file_of_keys_is_looked_at(tmp_path):
    path = tmp_path / "keys.toml"
    assert machine_facts.secret_file(path, "keys_file", API_KEYS).missing
    path.write_text("[keys")
    assert "not TOML" in machine_facts.secret_file(path, "keys_file", API_KEYS).errors[0]
