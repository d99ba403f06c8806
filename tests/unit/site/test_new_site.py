"""Which directories `svc up` and `svc check` refuse, because they are no site."""

from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.site.new_site import require_site


def require(root: Path, **environ: str) -> None:
    require_site(Site(root), load_settings(None, environ).launch)


@pytest.mark.parametrize("directory", [".", "config", "conf.d", "logs"])
def test_a_directory_without_files_of_a_site_is_refused_in_one_line(tmp_path, directory):
    (tmp_path / directory).mkdir(exist_ok=True)
    with pytest.raises(CommandError) as error:
        require(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: no site: neither config/svc.toml nor ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", ["config/svc.toml", "config/one.toml", "supervisord.conf"])
def test_each_file_of_a_site_makes_one(tmp_path, file):
    (tmp_path / "config").mkdir()
    (tmp_path / file).touch()
    require(tmp_path)


@pytest.mark.parametrize(
    "environ", [{"LAUNCH_COMPONENTS": "registry"}, {"LAUNCH_COMPONENTS": "none"}, {"BABYSITTER_CONFIGS": "/a/b.toml"}]
)
def test_variables_that_say_what_is_to_run_need_no_file(tmp_path, environ):
    require(tmp_path, **environ)
