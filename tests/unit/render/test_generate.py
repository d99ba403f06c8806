"""The generated files of a site: which are added, refreshed, removed or left alone."""

from pathlib import Path

import pytest

from svc.base.errors import ConfigError
from svc.config.instance.load import load
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render import generate
from svc.render.generate import earlier_sources, plan_site, render_to, rendered
from svc.render.paths import RenderPaths

EXAMPLE = Path(__file__).parents[3]
BASE = {"registry.conf", "router.conf"}


def toml(name, port):
    return f'name = "{name}"\nport = {port}\n[backend]\ntype = "mock"\nmodels = ["m"]\n'


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "more").mkdir(parents=True)
    (tmp_path / "config" / "a.toml").write_text(toml("a", 8100))
    (tmp_path / "config" / "b.toml").write_text(toml("b", 8110))
    (tmp_path / "config" / "more" / "c.toml").write_text(toml("c", 8120))
    return Site(Path())


def plan(site, *tomls, flags=None, **how):
    site_settings = load_settings(flags=flags)
    return plan_site(site, site_settings, site.tomls(tomls), partial=bool(tomls), **how)


def names(paths):
    return {path.name for path in paths}


def there(site):
    return names(site.conf_d.iterdir())


def wrong(site, *tomls, **how):
    with pytest.raises(ConfigError) as caught:
        plan(site, *tomls, **how)
    return caught.value.problems


def test_the_committed_example_site_is_up_to_date(monkeypatch):
    monkeypatch.chdir(EXAMPLE)
    site = Site(Path())
    change = plan_site(site, load_settings(site.svc_toml), site.tomls())
    assert not change.stale, change.diff()
    assert len(rendered(site, load_settings(), site.tomls())) == 6


def test_a_new_site_gets_every_file(site):
    change = plan(site)
    assert not site.conf_d.exists()
    change.write()
    assert there(site) == BASE | {"a.conf", "b.conf"}
    assert site.supervisord_conf.exists()
    assert site.conf_d.joinpath("a.conf").read_text().startswith('; made by "svc render" from ../config/a.toml\n')
    assert not plan(site).stale


def test_a_changed_file_is_stale_and_the_diff_shows_it(site):
    plan(site).write()
    (site.config / "a.toml").write_text(toml("a", 8130))
    change = plan(site)
    assert (names(change.changed), change.added, change.removed) == ({"a.conf"}, [], [])
    assert "--port 8130" in change.diff()


def test_the_file_of_a_deleted_toml_is_removed(site):
    plan(site).write()
    (site.config / "a.toml").unlink()
    plan(site).write()
    assert there(site) == BASE | {"b.conf"}


def test_a_renamed_instance_leaves_no_old_file(site):
    plan(site).write()
    (site.config / "a.toml").write_text(toml("z", 8100))
    plan(site, "config/a.toml").write()
    assert there(site) == BASE | {"z.conf", "b.conf"}


def test_files_that_svc_did_not_generate_are_left_alone(site):
    site.conf_d.mkdir()
    (site.conf_d / "mine.conf").write_text("[program:mine]\ncommand=x\n")
    (site.conf_d / "notes.txt").write_text("notes")
    plan(site).write()
    (site.config / "a.toml").unlink()
    plan(site).write()
    assert there(site) == BASE | {"b.conf", "mine.conf", "notes.txt"}


def test_a_foreign_file_in_the_way_is_an_error(site):
    site.conf_d.mkdir()
    (site.conf_d / "a.conf").write_text("[program:mine]\ncommand=x\n")
    assert wrong(site)[0].startswith("conf.d/a.conf: not made by svc render")
    assert there(site) == {"a.conf"}


def test_given_tomls_are_added_and_nothing_is_removed(site):
    plan(site).write()
    (site.config / "b.toml").unlink()
    plan(site, "config/more/c.toml").write()
    assert there(site) == BASE | {"a.conf", "b.conf", "c.conf"}


def test_files_of_tomls_given_earlier_stay_and_are_refreshed(site):
    plan(site, "config/more/c.toml").write()
    assert there(site) == BASE | {"c.conf"}
    assert earlier_sources(site) == [Path("config/more/c.toml")]
    plan(site).write()
    assert there(site) == BASE | {"a.conf", "b.conf", "c.conf"}
    (site.config / "more" / "c.toml").write_text(toml("c", 8140))
    assert names(plan(site).changed) == {"c.conf"}


def test_a_given_toml_collides_with_an_existing_instance(site):
    plan(site).write()
    (site.config / "more" / "c.toml").write_text(toml("c", 8101))
    (problem,) = wrong(site, "config/more/c.toml")
    assert problem.startswith("config/more/c.toml: port: 8101 is also the babysitter's of config/a.toml")


def test_an_error_in_another_file_does_not_block_a_given_toml(site):
    plan(site).write()
    (site.config / "a.toml").write_text("broken")
    assert plan(site, "config/more/c.toml").added
    assert wrong(site)[0].startswith("config/a.toml: not TOML")


def test_the_file_of_a_component_that_runs_elsewhere_is_removed(site):
    plan(site).write()
    plan(site, flags={"launch": {"components": "router"}}).write()
    assert there(site) == {"router.conf"}


def test_nothing_is_written_when_one_file_is_invalid(site):
    (site.config / "b.toml").write_text("port = 1\n")
    assert wrong(site) == (
        "config/b.toml: backend: missing; give [backend] a type, one of command, vllm, mock, infinilm, infinilm-rust",
    )
    assert not site.conf_d.exists()


def test_text_that_supervisord_refuses_is_not_written(site, monkeypatch):
    monkeypatch.setattr(generate, "render", lambda *_: {"supervisord.conf": "[supervisord]\nminfds=many\n"})
    assert wrong(site)[0].startswith("supervisord would refuse what was to be written: ")


def test_a_line_break_in_a_toml_name_is_refused(site):
    (site.config / "x\ny.toml").write_text(toml("x", 8130))
    assert "rename it" in wrong(site)[0]


def test_the_files_in_var_are_exactly_those_of_this_run(site):
    site.make_dirs()
    for tomls in (["config/a.toml", "config/b.toml"], ["config/b.toml"]):
        site_settings = load_settings(environ={"ROUTER_PORT": "8009"})
        plan_site(site, site_settings, site.tomls(tuple(tomls)), site.var_conf_d, exact=True).write()
    assert names(site.var_conf_d.iterdir()) == BASE | {"b.conf"}
    assert "config-file '%(here)s/../../config/b.toml'" in (site.var_conf_d / "b.conf").read_text()
    assert site.var_supervisord_conf.exists()
    assert not site.conf_d.exists()


def test_another_directory_gets_only_the_programs(site, tmp_path_factory):
    out = tmp_path_factory.mktemp("staging") / "conf.d"
    plan(site, out=out).write()
    assert names(out.iterdir()) == BASE | {"a.conf", "b.conf"}
    assert not out.with_name("supervisord.conf").exists()
    assert "from ../config/a.toml" in (out / "a.conf").read_text(), "as it will stand in a site"
    assert not plan(site, out=out).stale
    (site.config / "a.toml").unlink()
    assert names(plan(site, out=out).removed) == {"a.conf"}


def test_a_moved_site_renders_the_same_bytes(site, tmp_path, tmp_path_factory, monkeypatch):
    site_settings = load_settings()
    here = rendered(site, site_settings, site.tomls())
    moved = tmp_path_factory.mktemp("moved") / "a b"
    tmp_path.rename(moved)
    monkeypatch.chdir(moved)
    assert rendered(site, site_settings, site.tomls()) == here
    assert rendered(Site(moved), site_settings, Site(moved).tomls()) == here


@pytest.mark.parametrize("name", ["100%", "it's", "a*", "[x]"])
def test_a_site_path_that_supervisord_expands_is_refused(site, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="supervisord cannot work under a path with .* move the site"):
        plan_site(Site(tmp_path / name), load_settings(), [])


def test_the_files_of_svc_run(site, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    site_settings = load_settings(flags={"launch": {"components": "babysitter"}})
    paths = RenderPaths(Path.cwd(), state / "conf.d", state, logs_to_stdout=True)
    render_to(paths, load([Path("config/a.toml")], site_settings), site_settings)
    assert {path.name for path in state.rglob("*.conf")} == {"supervisord.conf", "a.conf"}
    assert f"--config-file {site.config.absolute()}/a.toml" in (state / "conf.d" / "a.conf").read_text()
