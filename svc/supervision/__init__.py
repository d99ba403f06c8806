"""Runs programs under supervisord: restart limits, the extension inside supervisord, its client, and the exec shim."""
