"""Which components a site runs, as texts and as the original's three variables."""

import pytest

from svc.config.component_names import components_of_variables, normalized_components


def test_the_order_of_a_list_does_not_matter():
    assert (
        normalized_components("babysitter,registry")
        == normalized_components("registry,babysitter")
        == "registry,babysitter"
    )


def test_an_unknown_component_is_named():
    with pytest.raises(ValueError, match="unknown component 'routre'; give all, none, or some of registry,router"):
        normalized_components("router,routre")


def test_variables_that_are_not_set_decide_nothing():
    assert components_of_variables({}) == components_of_variables({"LAUNCH_ROUTER": ""}) == ""
