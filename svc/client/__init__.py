"""The HTTP clients of the registry, the router, the babysitters and the instances."""
