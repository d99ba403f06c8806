"""Read the setting for the components that a site runs, in every form that the original accepts. Pure."""

from collections.abc import Mapping

from svc.settings import ALL_COMPONENTS, COMPONENT_VARIABLES, COMPONENTS, NO_COMPONENTS


def normalized_components(text: str) -> str:
    """Return `all`, `none`, or a comma-separated list in the order of COMPONENTS.

    Blanks and case in `text` are ignored. An empty `text` gives `none`. Raise ValueError for an unknown component.
    """
    names = {name for name in "".join(text.split()).lower().split(",") if name}
    for name in sorted(names - {*COMPONENTS, ALL_COMPONENTS, NO_COMPONENTS}):
        raise ValueError(f"unknown component {name!r}; give all, none, or some of {','.join(COMPONENTS)}")
    if ALL_COMPONENTS in names:
        return ALL_COMPONENTS
    return ",".join(component for component in COMPONENTS if component in names) or NO_COMPONENTS


def components_of_variables(environ: Mapping[str, str]) -> str:
    """Return the components that LAUNCH_REGISTRY, LAUNCH_ROUTER and LAUNCH_BABYSITTER select; empty if none is set.

    As in the original's launch script, a component is left out if its variable is set and is not "true".
    """
    if not any(environ.get(variable) for variable in COMPONENT_VARIABLES):
        return ""
    selected = [
        component
        for component, variable in zip(COMPONENTS, COMPONENT_VARIABLES, strict=True)
        if (environ.get(variable) or "true") == "true"
    ]
    return ",".join(selected) or NO_COMPONENTS
