"""The babysitter: the sidecar process that monitors one instance and registers it."""
