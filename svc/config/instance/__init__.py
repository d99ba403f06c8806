"""One babysitter TOML: its types, its keys, how it is read and checked."""
