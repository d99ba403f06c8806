"""The path of one request: client connection, authorization, forwarding, retries, response."""
