"""The router: one address for clients, which relays their requests to instances."""
