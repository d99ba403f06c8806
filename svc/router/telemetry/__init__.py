"""What the router reports: metrics, the access log, events."""
