"""Leases: how long a registration is valid, who owns its name, and what happens when it expires."""
