"""The sources of the router's table: the registry, the static services, health checks."""
