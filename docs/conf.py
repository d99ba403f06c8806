"""The Sphinx configuration of the documents' site, which bin/docs.sh builds; the reference is made from the code."""

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
myst_heading_anchors = 4  # so that anchors are those of git hosts
html_theme = "furo"
html_title = f"{project} {release}"
html_show_sphinx = html_show_copyright = False
html_copy_source = False
nitpicky = True


def replace_outer_links(app, docname, source):
    """Replace links to files outside docs/, which are not on the site, by paths."""
    if "/" not in docname:
        source[0] = reference.without_outer_links(source[0])


def setup(app):
    app.connect("source-read", replace_outer_links)
