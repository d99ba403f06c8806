import os
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(autouse=True)
def _closed_descriptors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the descriptors of the counts that a test has created: a router keeps them until its processes end."""
    descriptors: set[int] = set()

    def kept(create: Callable[..., int]) -> Callable[..., int]:
        def create_and_keep(*arguments: object) -> int:
            descriptor = create(*arguments)
            descriptors.add(descriptor)
            return descriptor

        return create_and_keep

    def close(descriptor: int, close: Callable[[int], None] = os.close) -> None:
        descriptors.discard(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "eventfd", kept(os.eventfd))
    monkeypatch.setattr(os, "memfd_create", kept(os.memfd_create))
    monkeypatch.setattr(os, "close", close)
    yield
    for descriptor in list(descriptors):
        os.close(descriptor)
