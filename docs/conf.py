"""The documents as a site: bin/docs.sh builds it. The reference is made of the code as it is."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import reference  # noqa: E402 - beside this file

reference.write(DOCS / "reference")

project = "InfiniLM-SVC"
author = "its maintainers"
version = release = reference.version()
extensions = ["myst_parser"]
exclude_patterns = ["_build", "images"]
myst_heading_anchors = 4  # so that the links that git hosts make work here too
html_theme = "furo"
html_title = f"{project} {release}"
html_show_sphinx = html_show_copyright = False
html_copy_source = False
nitpicky = True


def elsewhere(app, docname, source):
    """What lies beside docs/ is not on the site: a link to it becomes its path."""
    if "/" not in docname:
        source[0] = reference.without_outer_links(source[0])


def setup(app):
    app.connect("source-read", elsewhere)
