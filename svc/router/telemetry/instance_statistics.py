"""The counts of one instance."""


class InstanceStatistics:
    """The counts of one instance. They outlive its leaving the table: it may come back."""

    __slots__ = ("answered", "ejections", "errors", "first_seconds", "firsts", "requests", "seconds", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.answered = 0  # whole answers, of status 2xx
        self.ejections = 0
        self.seconds = 0.0  # of all requests together
        self.tokens = 0  # of completions, as usage says; of streams without it, their events
        self.first_seconds = 0.0  # until the first token, of all streams together
        self.firsts = 0  # of which there were so many

    def response_time(self) -> float:
        """Seconds a request took, on average."""
        return self.seconds / self.requests if self.requests else 0.0
