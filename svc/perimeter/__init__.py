"""Rules that every server here applies to its clients: hosts, origins, connection limits and deadlines."""
