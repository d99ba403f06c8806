"""The name of the site that the page shows if no setting gives one."""

from svc.router.router_components import _site_directory_name


def test_a_site_without_a_name_has_that_of_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _site_directory_name() == "", "this directory is no site"
    (tmp_path / "config").mkdir()
    assert _site_directory_name() == tmp_path.name
