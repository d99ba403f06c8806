"""The versions of svc, of Python, and of the packages and libraries that svc uses, for `svc version`."""

import platform
import sqlite3
import ssl
import sys
from importlib import machinery, metadata, util
from typing import Any

from svc.base.version import PACKAGE, installed

# The packages that setup.cfg requires (a test compares the lists), and two that these require: greenlet and werkzeug.
PACKAGES = (
    "supervisor",
    "gevent",
    "greenlet",
    "gunicorn",
    "flask",
    "werkzeug",
    "jinja2",
    "click",
    "requests",
    "msgspec",
    "httptools",
    "prometheus-client",
    "rich",
    "brotli",
    "xxhash",
)
OPTIONAL_PACKAGES = ("backports.zstd", "tomli", "redis", "xllamacpp")  # needed only for older Pythons or for an extra


def software_versions() -> dict[str, Any]:
    """Return the versions as `svc version --json` prints them."""
    packages = {name: _version_of(name) for name in PACKAGES}
    optional = {name: version for name in OPTIONAL_PACKAGES if (version := _version_of(name))}
    return {
        "svc": installed(),
        "directory": str(PACKAGE.parent),
        "router": "compiled" if is_compiled("svc.router.proxy.exchange") else "pure Python",
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "libraries": {"sqlite": sqlite3.sqlite_version, "openssl": ssl.OPENSSL_VERSION},
        "packages": packages | optional,
    }


def is_compiled(module: str) -> bool:
    """Return whether Python imports a module as machine code, such as mypyc's, and not from its source."""
    spec = util.find_spec(module)
    return spec is not None and (spec.origin or "").endswith(tuple(machinery.EXTENSION_SUFFIXES))


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
