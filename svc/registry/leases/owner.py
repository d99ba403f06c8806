"""Whose a name is: a babysitter's that registered it with a secret, as long as its lease holds. Pure.

Who asks is told by one word: the digest of the secret that was shown, NOBODY for
none, OPERATOR for the registry's token without a secret. A secret decides even
beside the token: babysitters have the token too, and the name is not theirs for that.
"""

import hashlib
import hmac

from svc.base.errors import Forbidden, NotFound
from svc.protocol.service import Service

OPERATOR = None
NOBODY = ""
Caller = str | None


def digest(secret: str) -> str:
    """What is kept of a secret; of none, NOBODY. A long random word needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest() if secret else NOBODY


def is_others(service: Service, caller: Caller) -> bool:
    """Whether it was registered with another secret, holding or not."""
    return bool(service.owner) and caller is not OPERATOR and not hmac.compare_digest(service.owner, caller)


def check(service: Service | None, caller: Caller) -> bool:
    """True; raises Forbidden for what is another's while its lease holds."""
    if service is not None and is_others(service, caller) and not service.expired:
        raise Forbidden(
            f"{service.name} belongs to the babysitter on {service.hostname} that registered it, at {service.url}, "
            "while its lease holds; choose another name, wait until that one has ended, or, as an operator, show the "
            "registry's token and no X-Service-Secret",
            param="name",
            code="not_owner",
        )
    return True


def check_heartbeat(service: Service, caller: Caller) -> None:
    """As `check`; and what has expired is not revived by another's heartbeat, which is told to register instead."""
    check(service, caller)
    if is_others(service, caller):
        raise NotFound(
            f"{service.name} was another's, whose lease has ended; register it with POST /services",
            param="name",
            code="unknown_service",
        )
