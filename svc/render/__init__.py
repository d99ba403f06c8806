"""Types of `config` turned into the files that supervisord, systemd, logrotate and nginx read."""
