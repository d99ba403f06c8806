"""Collects the facts of `svc doctor` from the site's files, this machine, and servers on the network."""
