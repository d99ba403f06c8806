"""The way of one request: connection, authorization, forwarding, retries, the response."""
