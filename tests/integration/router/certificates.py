"""Certificates for tests."""

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def make_certificate(directory: Path, name: str, names: str = "DNS:localhost,IP:127.0.0.1") -> Certificate:
    """A certificate that is its own CA, for these names; none if the text is empty."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates; apt install openssl")
    pair = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            *(("-addext", f"subjectAltName={names}") if names else ()),
            "-keyout",
            pair.key,
            "-out",
            pair.cert,
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return pair
