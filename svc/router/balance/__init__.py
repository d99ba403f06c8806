"""The choice of an instance for each request: routing table, policies, ejection, request queue."""
