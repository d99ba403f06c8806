"""Supervision of programs: the extension inside supervisord, the client that controls it, and the exec shim."""
