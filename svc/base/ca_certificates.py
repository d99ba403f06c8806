"""The paths of the CA certificates with which clients verify a server."""

import ssl


def system_ca() -> str | None:
    """Return the path of this machine's CA certificates."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


def library_ca() -> str:
    """Return the path of the CA certificates that the `requests` library uses by default, which are certifi's."""
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # here, because most servers are checked without TLS

    return DEFAULT_CA_BUNDLE_PATH
