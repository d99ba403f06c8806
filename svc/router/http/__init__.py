"""HTTP as the router reads and writes it: parsers, heads, bodies, content codings, sockets."""
