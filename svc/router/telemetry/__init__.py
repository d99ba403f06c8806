"""The router's telemetry: metrics, the access log, events."""
