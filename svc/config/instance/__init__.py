"""The babysitter TOML of one instance: its keys, their types, and the code that reads and checks them."""
