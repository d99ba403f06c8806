"""The command of the image in a bare environment: only the image's variables, and pid 1 where possible."""

import re

import pytest

from tests.e2e import dockerfile
from tests.e2e.sites import http
from tests.waiting import wait_until


def test_the_image_starts_a_site_serves_it_and_stops_it_in_order(site, start_container):
    site.mock("one")
    container = start_container()
    container.ready()
    assert site.chat().ok
    assert site.service("one-server")["status"] == "running"
    assert container.exec(*dockerfile.health()).stdout == "well: registry, router, one\n"

    for log in ("supervisord", f"router_{site.router_port}", "babysitter_one", "server_one"):
        assert (site.root / "logs" / f"{log}.log").stat().st_size, log
    for name in ("supervisord", "registry", "router", "one:server", "one:babysitter"):
        assert re.search(rf"^{name} \| \S", container.out, re.M), name

    assert container.stop() == 0, container.out
    stopped = re.findall(r"^(\S+) +stopped \(", container.out, re.M)
    assert stopped[:2] == ["router", "one:babysitter"]
    assert sorted(stopped[2:]) == ["one:server", "registry"]
    assert "deregistered one-server" in container.out
    assert site.processes() == {}
    assert not (site.root / "conf.d").exists()


def test_without_components_it_waits_in_the_environment_of_conda_and_env_set(site, start_container):
    profile = site.root / "conda" / "etc" / "profile.d" / "conda.sh"
    profile.parent.mkdir(parents=True)
    profile.write_text('conda() { export CONDA_DONE="$*"; }\n')
    (site.root / "env-set.sh").write_text(
        "echo setting the environment; export ARGUMENTS=$#; set -- lost; command=lost\n"
        "export INFINI_ROOT=/opt/infini AFTER=$CONDA_DONE PYTHON_LIBRARY=${UNSET}x\n[ -d /nonexistent ]\n"
    )
    container = start_container(LAUNCH_COMPONENTS=" None ", CONDA_ROOT=str(site.root / "conda"))
    wait_until(site.control_answers, timeout=60, description="supervisord")
    assert container.exec(*dockerfile.health()).stdout == "well: no component is to run here\n"
    assert "supervisord runs; no component is to run here" in container.out
    started = container.exec("svc", "up", "--only", "registry")
    assert started.returncode == 0, started.stderr
    assert container.exec(*dockerfile.health()).stdout == "well: registry\n"
    variables = container.exec("cat", f"/proc/{site.pid('registry')}/environ").stdout.split("\0")
    assert {"INFINI_ROOT=/opt/infini", "AFTER=activate base", "PYTHON_LIBRARY=x", "ARGUMENTS=0"} <= set(variables)
    assert container.stop() == 0, container.out


@pytest.mark.long
def test_the_file_overrides_the_address_that_the_image_listens_on(site, start_container):
    (site.root / "config" / "svc.toml").open("a").write('[launch]\ncomponents = "registry"\n')
    container = start_container()
    container.ready()
    assert "--host 0.0.0.0" in (site.root / "var" / "conf.d" / "registry.conf").read_text()
    assert container.exec(*dockerfile.health()).stdout == "well: registry\n"
    assert container.stop() == 0
    text = (site.root / "config" / "svc.toml").read_text()
    (site.root / "config" / "svc.toml").write_text(text.replace("[registry]", '[registry]\nhost = "127.0.0.2"'))
    container = start_container()
    container.ready()
    assert http.get(f"http://127.0.0.2:{site.registry_port}/health", timeout=5).ok
    assert container.stop() == 0


@pytest.mark.long
def test_zombies_are_reaped(site, start_container):
    container = start_container(LAUNCH_COMPONENTS="registry")
    container.ready()
    if not container.apart:
        pytest.skip("not root, or no tini (Debian: apt install tini): nothing is pid 1 here")
    container.exec("sh", "-c", "(exec sleep 0.2) & (exec sleep 0.3) & :")
    wait_until(lambda: "sleep" not in " ".join(site.processes().values()), description="the orphans' end")
    wait_until(lambda: not list(container.zombies()), description="no zombies")
    assert container.stop() == 0


@pytest.mark.parametrize(
    ("environ", "text", "line"),
    [
        ({}, "port = 8100\n[backend]\ntype = 'mock'", "config/wrong.toml: backend.models: missing"),
        ({}, "port = ", "config/wrong.toml: not TOML: "),
        ({"ROUTER_PORT": "many"}, "", "ROUTER_PORT: must be a whole number, not 'many'"),
        ({"LAUNCH_COMPONENTS": "everything"}, "", "LAUNCH_COMPONENTS: unknown component 'everything'"),
        ({"LAUNCH_COMPONENTS": "babysitter"}, "", "config: nothing to run: "),
        ({"BABYSITTER_CONFIGS": "config/none.toml"}, "", "config/none.toml: no such file"),
    ],
)
def test_a_failed_start_is_one_line_and_exit_code_1(site, start_container, environ, text, line):
    if text:
        (site.root / "config" / "wrong.toml").write_text(text)
    container = start_container(**environ)
    assert container.wait() == 1
    assert len(container.out.splitlines()) == 1, container.out
    assert container.out.startswith(f"svc: {line}")
    assert site.processes() == {}
