import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sites import Site


@pytest.fixture
def site() -> Iterator[Site]:
    """An empty site; the test's end stops all that it started, and fails if something outlives that."""
    made = Site(Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp")))
    yield made
    made.end()
