"""Which files `svc up` writes, and which supervisord.conf runs."""

from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.site.start_plan import Asked, plan

MOCK = 'name = "{0}"\nport = {1}\n[backend]\ntype = "mock"\nmodels = ["m"]\n'
OTHER_PORT = {"ROUTER_PORT": "9000"}


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    for name, port in (("a", 8100), ("b", 8110)):
        Path("config", f"{name}.toml").write_text(MOCK.format(name, port))
    return Site(Path())


def asked(*tomls: str, only: tuple[str, ...] = (), **environ: str) -> Asked:
    return Asked(tomls, only, environ)


def names(planned) -> list[str]:
    return [component.name for component in planned.components()]


def written(directory: str) -> list[str]:
    return sorted(path.name for path in Path(directory).glob("*.conf"))


def test_without_variables_conf_d_is_written_and_runs(site):
    planned = plan(site, asked(), running=False, own=False)
    assert (planned.conf, planned.conf_d) == (Path("supervisord.conf"), Path("conf.d"))
    assert not Path("conf.d").exists(), "a plan writes nothing"
    assert names(planned) == ["registry", "router", "a", "b"]
    assert planned.touched() == {"registry", "router", "a", "b"}
    planned.write()
    assert written("conf.d") == ["a.conf", "b.conf", "registry.conf", "router.conf"]
    again = plan(site, asked(), running=True, own=False)
    assert again.touched() == set()
    assert names(again) == names(planned)


def test_variables_that_change_nothing_are_nothing(site):
    plan(site, asked(), running=False, own=False).write()
    same = plan(site, asked(ROUTER_PORT="8000", BABYSITTER_CONFIGS="a.toml b.toml"), running=True, own=False)
    assert same.conf_d == Path("conf.d")


def test_variables_that_change_something_leave_conf_d_alone(site):
    plan(site, asked(), running=False, own=False).write()
    before = {path: path.read_bytes() for path in Path("conf.d").iterdir()}
    planned = plan(site, asked(**OTHER_PORT), running=False, own=False)
    assert (planned.conf, planned.conf_d) == (Path("var/supervisord.conf"), Path("var/conf.d"))
    assert planned.notes[0].startswith("ROUTER_PORT in the environment: ")
    planned.write()
    assert {path: path.read_bytes() for path in Path("conf.d").iterdir()} == before
    assert [component.ports for component in planned.components() if component.name == "router"] == [(9000,)]


def test_what_conf_d_had_before_runs_under_variables_too(site):
    Path("more").mkdir()
    Path("more/c.toml").write_text(MOCK.format("c", 8120))
    plan(site, asked("more/c.toml"), running=False, own=False).write()
    assert names(plan(site, asked(**OTHER_PORT), running=False, own=False)) == ["registry", "router", "a", "b", "c"]
    chosen = plan(site, asked(BABYSITTER_CONFIGS="b.toml"), running=False, own=False)
    assert names(chosen) == ["registry", "router", "b"]


def test_a_supervisord_that_runs_from_conf_d_is_not_changed_by_variables(site):
    plan(site, asked(), running=False, own=False).write()
    with pytest.raises(CommandError, match=r"ROUTER_PORT in the environment would change.*svc down"):
        plan(site, asked(**OTHER_PORT), running=True, own=False)


def test_one_that_runs_from_var_follows(site):
    plan(site, asked(**OTHER_PORT), running=False, own=False).write()
    planned = plan(site, asked(), running=True, own=True)
    assert planned.conf_d == Path("var/conf.d")
    assert planned.touched() == {"router"}
    planned.write()
    assert written("conf.d") == written("var/conf.d")


def test_a_file_of_somebody_else_in_conf_d_is_named_when_var_runs(site):
    plan(site, asked(), running=False, own=False).write()
    Path("conf.d/mine.conf").write_text("[program:mine]\ncommand=true\n")
    notes = plan(site, asked(**OTHER_PORT), running=False, own=False).notes
    assert any(note.startswith("conf.d/mine.conf: ") for note in notes)


def test_single_components_gather_in_var_and_a_fresh_start_forgets_the_old_ones(site):
    for only, tomls, running in (("registry", (), False), ("router", (), True), ("babysitter", ("a.toml",), True)):
        plan(site, asked(*tomls, only=(only,)), running=running, own=running).write()
    assert written("var/conf.d") == ["a.conf", "registry.conf", "router.conf"]
    assert not Path("conf.d").exists()
    planned = plan(site, asked("b.toml", only=("babysitter",)), running=True, own=True)
    assert names(planned) == ["registry", "router", "a", "b"]
    assert [component.name for component in planned.chosen(asked("b.toml", only=("babysitter",)), site)] == ["b"]
    assert names(plan(site, asked(only=("router",)), running=False, own=False)) == ["router"]


def test_a_single_component_beside_what_runs_from_conf_d_goes_there(site):
    plan(site, asked(), running=False, own=False).write()
    Path("more").mkdir()
    Path("more/c.toml").write_text(MOCK.format("c", 8120))
    planned = plan(site, asked("more/c.toml", only=("babysitter",)), running=True, own=False)
    assert planned.conf_d == Path("conf.d")
    assert names(planned) == ["registry", "router", "a", "b", "c"]
    assert planned.touched() == {"c"}
