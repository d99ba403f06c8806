"""Whether what svc needs is installed, in the versions that it needs."""

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement


def wanting(name: str = "infinilm-svc") -> Iterator[str]:
    """A line for each package that is missing or of a version that does not fit."""
    try:
        needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for text in needs:
        try:
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                there = metadata.version(need.name)
                if not need.specifier.contains(there, prereleases=True):
                    yield f"{need.name} is {there}, and must be {need.specifier}"
        except metadata.PackageNotFoundError:
            yield f"{need.name} is missing"
        except InvalidRequirement:
            continue
