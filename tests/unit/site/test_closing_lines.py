"""What `svc up` ends with: the page, and the model that was just started."""

import shlex

from svc.site.closing_lines import ReadySite, closing_lines, instances_to_try, needs_key
from svc.site.components import Component
from svc.site.curl_access import CurlAccess

URL = "http://127.0.0.1:8000"
ROUTER = CurlAccess(URL)


def instance(name: str) -> Component:
    return Component(name, "babysitter", "localhost", (8100, 8101), (f"{name}:server", f"{name}:babysitter"))


def test_the_page_and_the_model_are_named():
    lines = list(closing_lines(ReadySite(3.25, "bin/svc", ROUTER, "it's")))
    assert lines[0] == "All is ready after 3.2 s. Try:"
    assert shlex.split(lines[1])[:2] == ["curl", f"{URL}/v1/chat/completions"]
    assert '"model": "it\'s"' in shlex.split(lines[1])[-1]
    assert lines[2].startswith(f"  {URL}/ui  ")
    assert [line.split()[:2] for line in lines[3:]] == [["bin/svc", "status"], ["bin/svc", "down"], ["tail", "-f"]]


def test_a_router_with_keys_needs_one_in_the_command():
    lines = list(closing_lines(ReadySite(1, "svc", ROUTER, "m", needs_key=True)))
    assert lines[1].startswith("  KEY=$(svc keys add NAME)  ")
    assert shlex.split(lines[2])[2:4] == ["-H", "Authorization: Bearer $KEY"]


def test_a_router_with_tls_is_called_with_the_options_that_curl_needs():
    access = CurlAccess("https://localhost:8000", ("--cacert", "my ca.pem"))
    lines = list(closing_lines(ReadySite(1, "svc", access, "m")))
    assert shlex.split(lines[1])[:4] == ["curl", "--cacert", "my ca.pem", "https://localhost:8000/v1/chat/completions"]


def test_without_a_router_neither_page_nor_model_is_named():
    lines = list(closing_lines(ReadySite(1, "svc", model="m", foreign_files=["conf.d/x.conf"])))
    assert lines[0].startswith("conf.d/x.conf: runs as well; ")
    assert not any("curl" in line or "/ui" in line for line in lines)


def test_the_instance_that_was_just_started_is_tried_first():
    components = [instance("a"), instance("b"), instance("c")]
    routed = {"a-server": ["m1"], "c-server": ["m3"], "elsewhere-server": ["m4"]}
    assert [c.name for c in instances_to_try(components, {"b", "c"}, routed)] == ["c", "a"]
    assert [c.name for c in instances_to_try(components, set(), routed)] == ["a", "c"]


def test_a_router_that_hides_its_models_needs_a_key():
    assert needs_key({"a-server": [""]})
    assert not needs_key({"a-server": ["m"], "b-server": []})
    assert not needs_key({})
