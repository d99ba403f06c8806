"""The checks of `svc doctor`, each from facts to findings. Pure."""
