"""`svc render`: write the configuration files of supervisord, systemd, logrotate and nginx."""

from pathlib import Path

import click

from svc.base.errors import CommandError
from svc.cli.options import HERE, complete_files, settings, tomls_argument
from svc.render import files, nginx
from svc.render.generate import plan_output, plan_site
from svc.settings import Settings
from svc.terminal.output import echo, echo_block


@click.command("render")
@tomls_argument
@click.option("-o", "--out", type=click.Path(path_type=Path), help="the directory to write to  [default: conf.d]")
@click.option("--check", "only_check", is_flag=True, help="write nothing; exit with 1 if the files are stale")
@click.option("--diff", is_flag=True, help="write nothing; show how the files would change")
@click.option("--systemd", "output", flag_value="systemd", help="write systemd/ instead: a unit that runs the site")
@click.option("--logrotate", "output", flag_value="logrotate", help="write logrotate/ instead: see [logs]")
@click.option("--nginx", "output", flag_value="nginx", help="write nginx/ instead: TLS in front of the router")
@click.option(
    "--from-registry", is_flag=True, help="with --nginx: the upstreams are the instances that are healthy now"
)
@click.option(
    "--registry-url",
    metavar="URL",
    help="with --from-registry: the registry, or several separated by commas  [REGISTRY_URL]",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="with --from-registry: the token  [REGISTRY_READ_TOKEN_FILE]",
    shell_complete=complete_files,
)
def command(
    tomls: tuple[str, ...],
    out: Path | None,
    only_check: bool,
    diff: bool,
    output: str | None,
    from_registry: bool,
    registry_url: str | None,
    token_file: str | None,
) -> None:
    """Write supervisord's files from the files in config/.

    The environment is not read. With TOML files as arguments, their files are added or refreshed, and
    nothing is removed. Without arguments, all of config/ is rendered, and files whose source is gone
    are removed. Files that svc did not render stay.

    --systemd, --logrotate and --nginx write files for these programs instead, from the sections [systemd],
    [logs] and [nginx] of config/svc.toml.
    """
    site_settings = settings(environ=False, check_rules=True)
    sources = HERE.tomls(tomls, site_settings.launch.babysitter_configs)
    if from_registry or registry_url or token_file:
        if output != "nginx" or not from_registry or tomls:
            raise click.UsageError("--from-registry goes with --nginx, and without TOML files")
        change = _nginx_from_registry(site_settings, registry_url, token_file, out)
    elif output:
        change = plan_output(HERE, site_settings, output, sources, out)
    else:
        change = plan_site(HERE, site_settings, sources, out, partial=bool(tomls))
    if diff:
        echo_block(change.diff())
    if not (only_check or diff):
        if not (out or output):
            HERE.make_missing_dirs()
        change.write()
    for label, paths in (("new", change.added), ("changed", change.changed), ("gone", change.removed)):
        for path in paths:
            echo(f"{path}: {label}")
    if only_check and change.stale:
        cure = f"svc render --{output}" if output else "svc render"
        raise CommandError(f"{out or output or HERE.conf_d}: stale; run `{cure}`")


def _nginx_from_registry(
    site_settings: Settings, registry_url: str | None, token_file: str | None, out: Path | None
) -> files.Change:
    """Return the change that makes the registry's healthy instances the upstreams in nginx's files.

    Raise CommandError if no registry answers, and ConfigError if the registry has no healthy instance.
    """
    from svc.cli.registry_options import Access  # here, so that the other outputs do not load an HTTP client
    from svc.site.access import explaining_errors

    nginx.check_listed(site_settings)
    client = Access(registry_url, token_file).client(read=True)
    with explaining_errors("list the instances", client):
        services = client.services()
    texts, notes = nginx.render_listed(services, site_settings)
    for note in notes:
        echo(f"svc: {note}", err=True)
    directory = out or HERE.root / "nginx"
    return files.difference({directory / name: text for name, text in texts.items()}, [])
