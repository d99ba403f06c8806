"""Which instance gets a request: the table, the policies, ejection, the request queue."""
