"""Models on demand under a trace of requests: simulated with the real decisions, and on real sites with mocks."""
