"""nginx in front of the instances that the registry has now: only what is healthy, and not drained."""

from pathlib import Path

from svc.cli.access import Access
from svc.config.site import Site
from svc.render import files, nginx
from svc.settings import Settings
from svc.site.access import explained
from svc.terminal.output import echo


def plan_listed(
    site: Site, told: Settings, registry_url: str | None, token_file: str | None, out: Path | None = None
) -> files.Change:
    """What has to be written in `out` (default: the site's nginx/).

    Raises CommandError where no registry answers, ConfigError where it has no instance.
    """
    nginx.check_listed(told)
    client = Access(registry_url, token_file).client(read=True)
    with explained("list the instances", client):
        listed = client.services()
    texts, notes = nginx.render_listed(listed, told)
    for note in notes:
        echo(f"svc: {note}", err=True)
    out = out or site.root / "nginx"
    return files.difference({out / name: text for name, text in texts.items()}, [])
