"""`svc engine`: management requests that go to the engines themselves, past the router."""
