"""The lines that `svc services watch` prints for the registry's list."""

import msgspec
import pytest

from svc.base.errors import CommandError
from svc.client.registry import ServiceList
from svc.site.service_watch import changes_since, services_by_name, watch
from tests.unit.client.listed_services import service
from tests.unit.site.interrupts import interrupt_in_a_finalizer, interrupted


def listed(*services):
    entries = [msgspec.Raw(msgspec.json.encode(entry)) for entry in services]
    return ServiceList(entries, 1, "http://registry")


def test_services_are_listed_by_name():
    assert list(services_by_name(listed(service("b-server"), service("a-server")))) == ["b-server", "a-server"]


def test_the_list_of_a_router_is_refused():
    with pytest.raises(CommandError, match="http://registry is no registry"):
        services_by_name(listed({"name": "a-server", "url": "http://a"}))


def test_the_first_list_is_printed_whole_in_the_order_of_names():
    services = services_by_name(listed(service("b-server"), service("a-server")))
    assert list(changes_since(None, services)) == [
        ("a-server", "healthy, http://10.0.0.7:8100"),
        ("b-server", "healthy, http://10.0.0.7:8100"),
    ]


def test_a_later_list_is_printed_as_its_changes():
    before = services_by_name(listed(service("a-server"), service("b-server")))
    after = services_by_name(listed(service("a-server", drained=True)))
    assert list(changes_since(before, after)) == [("a-server", "healthy -> drained"), ("b-server", "removed")]


class InterruptedRegistry:
    """A client at which Ctrl-C is pressed in a finalizer of its first request."""

    urls = ("http://registry",)
    requests = 0

    def list_services(self, *_: object):
        self.requests += 1
        assert self.requests == 1, "the interrupt is lost"
        interrupt_in_a_finalizer()
        return listed()


def test_an_interrupt_in_a_finalizer_ends_the_watch():
    with interrupted():
        watch(InterruptedRegistry(), as_json=False)
