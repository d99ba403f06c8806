"""Real clients and engines through a router, each in an environment of its own."""
