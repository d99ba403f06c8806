"""Names that are derived from an instance's name: its two programs and its entry in the registry. Pure."""

SERVER_SUFFIX = ":server"
BABYSITTER_SUFFIX = ":babysitter"
SERVICE_SUFFIX = "-server"


def server_program(name: str) -> str:
    """Return the name of the instance's server program in supervisorctl's notation."""
    return name + SERVER_SUFFIX


def babysitter_program(name: str) -> str:
    """Return the name of the instance's babysitter program in supervisorctl's notation."""
    return name + BABYSITTER_SUFFIX


def instance_service(name: str) -> str:
    """Return the name under which the instance is registered; its babysitter is registered under `name` itself."""
    return name + SERVICE_SUFFIX


def instance_name(service: str) -> str:
    """Return the name of the instance that is registered as `service`."""
    return service.removesuffix(SERVICE_SUFFIX)
