"""The clients of the registry, the router and the instances: the only code that knows their URLs."""
