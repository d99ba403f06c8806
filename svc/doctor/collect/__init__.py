"""Collects the facts that the checks judge."""
