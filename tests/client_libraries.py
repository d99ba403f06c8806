"""The official Python clients, which are imported when a test first uses them.

Each process of pytest imports every file of tests, but only one runs those with the clients, and together they take
three seconds of CPU.
"""

import importlib
from typing import Any


class Library:
    """A module that is imported when one of its names is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for marks of its own at every name of a file
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


anthropic = Library("anthropic")
openai = Library("openai")
