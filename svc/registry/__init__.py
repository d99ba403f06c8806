"""Who is there, and since when they were last heard."""
