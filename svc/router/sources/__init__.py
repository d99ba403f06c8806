"""Where the router's table comes from: the registry, static services, health checks."""
