"""Who may read or write at the registry, from where, and how often."""
