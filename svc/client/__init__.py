"""The HTTP clients of the registry, the router, the babysitters and the instances. Other folders write no URL paths."""
