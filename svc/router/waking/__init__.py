"""Decides which instances on demand are woken, those that cost least first, and sends the demands to babysitters."""
