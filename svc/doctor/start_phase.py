"""Decides whether a program does not answer yet because it has just been started. Pure."""

from svc.doctor.facts import Facts
from svc.doctor.http_result import HttpResult

START_SECONDS = 60  # time that a program may need on a busy machine to open its port and register


def is_starting(facts: Facts, program: str) -> bool:
    """Return whether supervisord is starting a program, or started it at most START_SECONDS ago."""
    return facts.state(program) == "STARTING" or 0 < facts.uptime(program) <= START_SECONDS


def may_open_port(facts: Facts, program: str, response: HttpResult) -> bool:
    """Return whether `response` may be an error only because the program has not opened its port yet."""
    return facts.state(program) == "STARTING" or (is_refused(response) and is_starting(facts, program))


def is_refused(response: HttpResult) -> bool:
    """Return whether nothing accepted the connection."""
    return "connection refused" in response.error
