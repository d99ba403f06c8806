"""What every other part builds on: errors, logging, HTTP, files and sockets. It imports no other part of svc."""
