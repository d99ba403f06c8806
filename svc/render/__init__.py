"""Renders a site's settings and instances as files for supervisord, systemd, logrotate and nginx."""
