"""Access to the registry: who may read or write, which addresses a service may have, and how many events are taken."""
