"""Renders the types of `config` to the files that supervisord, systemd, logrotate and nginx read."""
