"""Collecting the facts of `svc doctor`: it reads the site, this machine, and what answers on the network."""
