"""The failure of an attempt to get a response from an instance. Pure."""

from enum import Enum


class AttemptOutcome(Enum):
    """The stage that a request had reached at an instance when the attempt failed."""

    UNSENT = "the instance has not taken the request"
    UNREADY = "the instance refused the request"
    UNKNOWN = "the instance took the request and may have done the work"
    BEGUN = "the instance had begun to answer"


class UpstreamError(Exception):
    """The instance could not be reached, or its response is not valid HTTP.

    `refused`: the connection was refused; `timeout`: the connection was not established in time; `reset`: the
    instance reset an established connection before it sent anything; `closed`: the instance closed it, in order.
    """

    def __init__(
        self,
        message: str,
        outcome: AttemptOutcome,
        *,
        refused: bool = False,
        timeout: bool = False,
        reset: bool = False,
        closed: bool = False,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.refused = refused
        self.timeout = timeout
        self.reset = reset
        self.closed = closed
