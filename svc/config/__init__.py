"""Reads and checks the files that people write: a site's settings, babysitter TOML files and files of keys."""
