"""The registry: an HTTP server that keeps the list of services, their leases, their health and their events."""
