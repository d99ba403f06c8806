"""`svc engine`: management requests to the engines themselves, past the router."""
