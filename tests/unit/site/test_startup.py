"""The start of programs while another command shuts supervisord down."""

from svc.base.errors import Unavailable
from svc.config.site import Site
from svc.site.startup import start_programs


def test_programs_are_started_again_if_supervisord_ends_meanwhile(tmp_path):
    site, calls = Site(tmp_path), []
    site.make_dirs()

    def run():
        calls.append(1)
        if len(calls) == 1:
            raise Unavailable("supervisord is shutting down")

    start_programs(site, run)
    assert len(calls) == 2
