"""Renders a site's settings and instances to the files that supervisord, systemd, logrotate and nginx read."""
