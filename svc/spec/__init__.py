"""Babysitter TOML: its types, how it is read, what is made of it."""
