from collections.abc import Iterator

import pytest

from tests.integration.nginx.server import Nginx
from tests.integration.router.certificates import Certificate, make_certificate


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "front")


@pytest.fixture(scope="module")
def nginx(pair: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    made = Nginx(tmp_path_factory.mktemp("front"), pair.cert, pair.key)
    yield made
    made.end()
