"""The checks of `svc doctor`, each of which turns facts into findings. Pure."""
