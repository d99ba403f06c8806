"""The foundation of every other part: errors, logging, HTTP, files, sockets. It imports no other part of svc."""
