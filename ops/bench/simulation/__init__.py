"""Simulated LLM engines with a prefix cache, for the routing policies; nothing here sends a request."""
