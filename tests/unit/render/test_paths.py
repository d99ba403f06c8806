"""Paths in generated files: relative within a site, absolute elsewhere."""

from pathlib import Path

import pytest

from svc.render.paths import RenderPaths

SITE = RenderPaths.of(Path("/srv/site"))
IMAGE = RenderPaths(Path("/app"), Path("/state/var/conf.d"), Path("/state"))


@pytest.mark.parametrize(
    ("paths", "path", "relative"),
    [
        (SITE, "/srv/site/config/a.toml", "../config/a.toml"),
        (SITE, "/srv/site-2/a.toml", "/srv/site-2/a.toml"),
        (SITE, "/etc/a.toml", "/etc/a.toml"),
        (IMAGE, "/state/logs/a.log", "../../logs/a.log"),
        (IMAGE, "/app/config/a.toml", "/app/config/a.toml"),
    ],
)
def test_a_path_is_relative_only_within_the_site_or_the_state(paths, path, relative):
    assert paths.relative(Path(path)) == relative


def test_a_conf_d_outside_the_site_is_rendered_as_the_sites_own():
    assert RenderPaths.of(Path("/srv/site"), Path("/tmp/preview")) == SITE
    assert RenderPaths.of(Path("/srv/site"), Path("/srv/site/var/conf.d")).conf_d == Path("/srv/site/var/conf.d")


@pytest.mark.parametrize(
    ("work_dir", "value"),
    [
        ("", "%(here)s/.."),
        ("models", "%(here)s/../models"),
        ("/srv/models", "/srv/models"),
        ("a%b", "%(here)s/../a%%b"),
    ],
)
def test_a_working_directory_is_relative_to_the_site(work_dir, value):
    assert SITE.work_dir(work_dir) == value


def test_an_argument_is_quoted():
    assert SITE.argument(Path("/srv/site/config/it's.toml")) == "'%(here)s/../config/it'\"'\"'s.toml'"
    assert SITE.argument(Path("/etc/a b.toml")) == "'/etc/a b.toml'"
