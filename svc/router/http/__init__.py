"""HTTP: parsers, heads, bodies, content codings, CORS, credentials, sockets."""
