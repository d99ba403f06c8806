"""Looking at many sockets at once, without waiting and without a timer for each."""

import select
from collections.abc import Iterable

POLLRDHUP = getattr(select, "POLLRDHUP", 0x2000)


def poller() -> "select.poll":
    """The system's own poll(): gevent's never reports POLLRDHUP."""
    try:
        from gevent import monkey

        return monkey.get_original("select", "poll")()
    except ImportError:
        return select.poll()


def readable(descriptors: Iterable[int]) -> set[int]:
    """Those with something to read; for an idle connection that is its end."""
    poll = poller()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {fd for fd, _ in poll.poll(0)}
