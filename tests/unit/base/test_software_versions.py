"""`svc version`: what setup.cfg requires is listed, and whether the router is compiled."""

import configparser
import platform
import re

from svc.base.software_versions import OPTIONAL_PACKAGES, PACKAGES, is_compiled, software_versions
from svc.base.version import PACKAGE
from svc.router.proxy import exchange


def required_packages() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    lines = [line for line in setup["options"]["install_requires"].splitlines() if line and not line.startswith("#")]
    return {re.split(r"[ \[<>=;]", line)[0] for line in lines}


def test_every_required_package_is_listed():
    assert required_packages() <= {*PACKAGES, *OPTIONAL_PACKAGES}


def test_every_listed_package_is_installed_and_has_a_version():
    versions = software_versions()
    assert list(versions["packages"])[: len(PACKAGES)] == list(PACKAGES)
    assert all(re.match(r"\d+\.\d+", version or "") for version in versions["packages"].values())
    assert versions["python"] == platform.python_version()
    assert re.fullmatch(r".+\+[0-9a-f]{8}", versions["svc"])


def test_a_module_is_compiled_if_it_is_no_source():
    assert is_compiled("httptools.parser.parser")
    assert not is_compiled("svc.base.software_versions")
    assert not is_compiled("svc.base.no_such_module")
    assert software_versions()["router"] == ("pure Python" if exchange.__file__.endswith(".py") else "compiled")
