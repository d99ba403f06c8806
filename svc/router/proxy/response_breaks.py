"""How a response breaks off. Pure."""

HANDOVER = "handover"  # the interruption of a stream that is to go on at another instance


class ClientGone(Exception):
    """The client has closed its connection, so that no response can be sent."""


class TruncatedResponse(Exception):
    """The response broke off after a part of it was passed on; the client must notice that it is truncated."""
