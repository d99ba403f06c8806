"""Render the logrotate rule for a site's logs."""

from svc.base.errors import ConfigError
from svc.render.supervisord_conf import render_template
from svc.render.systemd import host_values
from svc.settings import Settings

RULE_NAME = "infinilm-svc"
SIZE_UNITS = {"KB": "k", "MB": "M", "GB": "G"}


def render_rule(settings: Settings) -> dict[str, str]:
    """Return a dict from the rule's file name to its text. Raise ConfigError if supervisord rotates the logs itself."""
    logs = settings.logs
    if logs.rotate != "logrotate":
        raise ConfigError(
            'config/svc.toml: [logs] rotate: supervisord rotates the logs; write rotate = "logrotate" to leave it '
            "to logrotate"
        )
    size = logs.max_size[:-2] + SIZE_UNITS[logs.max_size[-2:]]
    return {
        RULE_NAME: render_template(
            "logrotate/rule.j2", **host_values(settings.systemd), size=size, backups=logs.backups
        )
    }
