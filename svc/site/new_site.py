"""Raises an error for a directory that is not a site yet. The error contains the commands that create a site."""

from svc.base.errors import CommandError
from svc.base.own_commands import command_name
from svc.config.site import Site
from svc.settings import LaunchSettings

FIRST_TOML = 'name = "demo"\\nport = 8100\\n[backend]\\ntype = "mock"\\nmodels = ["demo"]\\n'


def require_site(site: Site, launch: LaunchSettings) -> None:
    """Raise CommandError if instances are to run in a directory that has no files of a site.

    If LAUNCH_COMPONENTS selects only the registry or the router, a site needs no files.
    """
    if site.has_files or launch.babysitter_configs or not launch.runs("babysitter"):
        return
    raise CommandError(
        f"{site.root.absolute()}: no site: neither config/svc.toml nor the TOML of an instance is here; change to "
        f"the directory of your site, or begin one here: mkdir -p config && {first_instance_command()}"
    )


def first_instance_command() -> str:
    """Return the commands that write a first TOML and start its instance."""
    return f"printf '{FIRST_TOML}' > config/demo.toml && {command_name()} up"
