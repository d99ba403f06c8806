from collections.abc import Iterator

import pytest

from tests.integration.nginx.server import Nginx
from tests.integration.router.test_tls import Pair, made


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(tmp_path_factory.mktemp("tls"), "front")


@pytest.fixture(scope="module")
def nginx(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    made = Nginx(tmp_path_factory.mktemp("front"), pair.cert, pair.key)
    yield made
    made.end()
