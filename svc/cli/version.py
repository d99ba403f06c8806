"""`svc version`: show the versions of svc, of Python and of the packages it uses."""

import click

from svc.base.software_versions import software_versions
from svc.terminal.output import echo, echo_json
from svc.terminal.table import aligned_lines


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="for programs: see below")
def command(as_json: bool) -> None:
    """Show the versions of svc, of Python and of the packages it uses.

    The versions are those installed here. `svc doctor` reports programs that run another version of svc.

    \b
    --json prints one object:
      svc         VERSION+DIGEST; the digest of its code distinguishes builds of one version
      directory   where the code of svc is
      router      `compiled` if its hot path is compiled (ops/wheel/README.md), else `pure Python`
      python      its version
      executable  its path
      system      the operating system
      libraries   an object: the versions of SQLite and OpenSSL
      packages    an object: the version of each package, null for one that is missing; a package of
                  an extra (redis, llama) is listed only where it is installed
    """
    versions = software_versions()
    if as_json:
        echo_json(versions, indent=2)
        return
    rows = [("svc", f"{versions['svc']} in {versions['directory']}")]
    rows.append(("router", versions["router"]))
    rows += [("python", f"{versions['python']} at {versions['executable']}"), ("system", versions["system"])]
    rows += list(versions["libraries"].items())
    rows += [(name, version or "missing") for name, version in versions["packages"].items()]
    for line in aligned_lines(rows):
        echo(line)
