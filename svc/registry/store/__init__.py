"""Where registrations are kept: memory and SQLite on one host, Redis for several."""
