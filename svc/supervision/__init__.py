"""Programs under supervisord: the extension that runs inside it, the client that controls it, and the exec shim."""
