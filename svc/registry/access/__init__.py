"""Access to the registry: which clients may read or write, where services may be, and how fast events may arrive."""
