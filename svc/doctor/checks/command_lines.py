"""Command lines of instances: every user of the machine can read them."""

from collections.abc import Iterator

from svc.base.mask import secret_names, without_secrets
from svc.config.instance.model import InstanceConfig
from svc.doctor.facts import Facts
from svc.doctor.findings import WARNING, Finding


def check(facts: Facts) -> Iterator[Finding]:
    for name, config in facts.configs.items():
        command = " ".join(config.argv)
        if without_secrets(command) != command:
            yield _finding(name, config, secret_names(command))


def _finding(name: str, config: InstanceConfig, secrets: list[str]) -> Finding:
    subject = f"a secret ({', '.join(secrets)})" if secrets else "a secret"
    return Finding(
        f"command_line.{name}",
        WARNING,
        f"{config.source}: the instance's command line holds {subject}",
        "every user of this machine reads it in the output of ps; it stands in conf.d/ too",
        first="write an API key into a file that [backend] api_key_file names, or another secret into [backend] env;",
        fix="svc up",
    )
