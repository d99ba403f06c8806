"""Which files `svc up` writes, and which supervisord.conf it runs."""

import os
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.site.start_plan import StartOptions, StartPlan, plan, wildcard_notes

MOCK = 'name = "{0}"\nport = {1}\n[backend]\ntype = "mock"\nmodels = ["m"]\n'
OTHER_PORT = {"ROUTER_PORT": "9000"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    for name, port in (("a", 8100), ("b", 8110)):
        Path("config", f"{name}.toml").write_text(MOCK.format(name, port))
    return Site(Path())


def options(*tomls: str, only: tuple[str, ...] = (), **environ: str) -> StartOptions:
    return StartOptions(tomls, only, environ)


def names(start_plan: StartPlan) -> list[str]:
    return [component.name for component in start_plan.components()]


def written(directory: str) -> list[str]:
    return sorted(path.name for path in Path(directory).glob("*.conf"))


def test_without_variables_conf_d_is_written_and_runs(site):
    start_plan = plan(site, options(), running=False, runs_from_var=False)
    assert (start_plan.conf, start_plan.conf_d) == (Path("supervisord.conf"), Path("conf.d"))
    assert not Path("conf.d").exists(), "a plan writes nothing"
    assert names(start_plan) == ["registry", "router", "a", "b"]
    assert start_plan.changed_components() == {"registry", "router", "a", "b"}
    start_plan.write()
    assert written("conf.d") == ["a.conf", "b.conf", "registry.conf", "router.conf"]
    again = plan(site, options(), running=True, runs_from_var=False)
    assert again.changed_components() == set()
    assert names(again) == names(start_plan)


def test_variables_that_change_nothing_are_ignored(site):
    plan(site, options(), running=False, runs_from_var=False).write()
    same = plan(
        site, options(ROUTER_PORT="8000", BABYSITTER_CONFIGS="a.toml b.toml"), running=True, runs_from_var=False
    )
    assert same.conf_d == Path("conf.d")


def test_variables_that_change_something_leave_conf_d_alone(site):
    plan(site, options(), running=False, runs_from_var=False).write()
    before = {path: path.read_bytes() for path in Path("conf.d").iterdir()}
    start_plan = plan(site, options(**OTHER_PORT), running=False, runs_from_var=False)
    assert (start_plan.conf, start_plan.conf_d) == (Path("var/supervisord.conf"), Path("var/conf.d"))
    assert start_plan.notes[0].startswith("ROUTER_PORT in the environment: ")
    start_plan.write()
    assert {path: path.read_bytes() for path in Path("conf.d").iterdir()} == before
    assert [component.ports for component in start_plan.components() if component.name == "router"] == [(9000,)]


def test_earlier_files_run_under_variables_too(site):
    Path("more").mkdir()
    Path("more/c.toml").write_text(MOCK.format("c", 8120))
    plan(site, options("more/c.toml"), running=False, runs_from_var=False).write()
    assert names(plan(site, options(**OTHER_PORT), running=False, runs_from_var=False)) == [
        "registry",
        "router",
        "a",
        "b",
        "c",
    ]
    chosen = plan(site, options(BABYSITTER_CONFIGS="b.toml"), running=False, runs_from_var=False)
    assert names(chosen) == ["registry", "router", "b"]


def test_variables_do_not_change_a_site_that_runs_from_conf_d(site):
    plan(site, options(), running=False, runs_from_var=False).write()
    with pytest.raises(CommandError, match=r"ROUTER_PORT in the environment would change.*svc down"):
        plan(site, options(**OTHER_PORT), running=True, runs_from_var=False)


def test_a_site_that_runs_from_var_is_updated_there(site):
    plan(site, options(**OTHER_PORT), running=False, runs_from_var=False).write()
    start_plan = plan(site, options(), running=True, runs_from_var=True)
    assert start_plan.conf_d == Path("var/conf.d")
    assert start_plan.changed_components() == {"router"}
    start_plan.write()
    assert written("conf.d") == written("var/conf.d")


def test_a_foreign_file_in_conf_d_is_named_when_var_runs(site):
    plan(site, options(), running=False, runs_from_var=False).write()
    Path("conf.d/mine.conf").write_text("[program:mine]\ncommand=true\n")
    notes = plan(site, options(**OTHER_PORT), running=False, runs_from_var=False).notes
    assert any(note.startswith("conf.d/mine.conf: ") for note in notes)


def test_single_components_gather_in_var_until_a_fresh_start(site):
    for only, tomls, running in (("registry", (), False), ("router", (), True), ("babysitter", ("a.toml",), True)):
        plan(site, options(*tomls, only=(only,)), running=running, runs_from_var=running).write()
    assert written("var/conf.d") == ["a.conf", "registry.conf", "router.conf"]
    assert not Path("conf.d").exists()
    start_plan = plan(site, options("b.toml", only=("babysitter",)), running=True, runs_from_var=True)
    assert names(start_plan) == ["registry", "router", "a", "b"]
    assert [component.name for component in start_plan.chosen(options("b.toml", only=("babysitter",)), site)] == ["b"]
    assert names(plan(site, options(only=("router",)), running=False, runs_from_var=False)) == ["router"]


@pytest.mark.parametrize(
    ("components", "registry_first", "port"),
    [("all", True, 31900), ("all", False, 31900), ("none", True, 31900), ("babysitter", False, 18000)],
)
def test_a_single_instance_registers_at_the_own_registry_of_the_site(site, components, registry_first, port):
    Path("config/svc.toml").write_text(f'[registry]\nport = 31900\n[launch]\ncomponents = "{components}"\n')
    Path("config/a.toml").write_text('registry_url = "http://localhost:18000"\n' + MOCK.format("a", 8100))
    if registry_first:
        plan(site, options(only=("registry",)), running=False, runs_from_var=False).write()
    start_plan = plan(
        site, options("a.toml", only=("babysitter",)), running=registry_first, runs_from_var=registry_first
    )
    urls = {component.name: component.registry_url for component in start_plan.components()}
    assert urls["a"] == f"http://localhost:{port}"
    assert list(urls) == (["registry", "a"] if registry_first else ["a"]), "no other component starts"


def test_the_port_of_an_instance_may_be_that_of_a_component_that_does_not_start(site):
    Path("config/a.toml").write_text(MOCK.format("a", 8000))
    only = options("a.toml", only=("babysitter",))
    assert names(plan(site, only, running=False, runs_from_var=False)) == ["a"]


def test_a_single_component_joins_a_site_that_runs_from_conf_d(site):
    plan(site, options(), running=False, runs_from_var=False).write()
    Path("more").mkdir()
    Path("more/c.toml").write_text(MOCK.format("c", 8120))
    start_plan = plan(site, options("more/c.toml", only=("babysitter",)), running=True, runs_from_var=False)
    assert start_plan.conf_d == Path("conf.d")
    assert names(start_plan) == ["registry", "router", "a", "b", "c"]
    assert start_plan.changed_components() == {"c"}


def test_files_that_are_overwritten_or_removed_are_reported_once(site):
    first = plan(site, options(), running=False, runs_from_var=False)
    assert first.replaced_files() == []
    first.write()
    plan(site, options(**OTHER_PORT), running=False, runs_from_var=False).write()
    Path("config/a.toml").write_text(MOCK.format("a", 8130))
    Path("config/b.toml").unlink()
    again = plan(site, options(), running=True, runs_from_var=True)
    assert len(again.changes) == 2
    assert again.replaced_files()[:2] == ["conf.d/a.conf: overwritten", "conf.d/b.conf: removed"]
    assert len({line.partition(":")[0].rpartition("/")[2] for line in again.replaced_files()}) == len(
        again.replaced_files()
    )


def test_a_wildcard_host_is_noted_when_its_instance_is_new_or_changed(site):
    path = Path("config", "a.toml")
    path.write_text('host = "0.0.0.0"\n' + MOCK.format("a", 8100))

    def notes() -> list[str]:
        start_plan = plan(site, options(), running=False, runs_from_var=False)
        start_plan.write()
        return list(wildcard_notes(start_plan.components(), start_plan.changed_components()))

    (note,) = notes()
    assert note.startswith("a: host: '0.0.0.0' is for listening: ")
    assert notes() == []
    path.write_text(path.read_text().replace("8100", "8120"))
    assert len(notes()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to logs/ of a user who may not")
def test_root_does_not_turn_programs_to_log_files_that_they_cannot_write(site):
    site.logs.write_text("in the way")
    plan(site, options(), running=False, runs_from_var=False, allow_read_only=True).write()
    site.logs.unlink()
    site.logs.mkdir()
    assert plan(site, options(), running=True, runs_from_var=True, allow_read_only=True).changed_components() == set()
