"""The stores that keep the registry's services: SQLite for one host, Redis for several."""
