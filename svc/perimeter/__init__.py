"""Rules that every server of svc applies to its clients: hosts, origins, connection limits and deadlines."""
