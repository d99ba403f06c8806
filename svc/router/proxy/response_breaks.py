"""The exceptions of a response that breaks off. Pure."""


class ClientGone(Exception):
    """The client has closed its connection, so that no response can be sent."""


class TruncatedResponse(Exception):
    """The response broke off after a part of it was passed on; the client must notice that it is truncated."""
