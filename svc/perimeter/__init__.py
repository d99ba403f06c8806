"""Rules that every server here applies to its callers: hosts, origins, connections and deadlines."""
