"""Who owns a service's name: the babysitter that registered it with a secret, as long as its lease holds. Pure.

A caller is one of three: the digest of the secret that the request has, ANONYMOUS without a secret, or OPERATOR for the
registry's token without a secret. A secret counts even beside the token: every babysitter has the token, which
therefore does not prove that a name is its own.
"""

import hashlib
import hmac

from svc.base.errors import Forbidden, NotFound
from svc.protocol.service import Service

OPERATOR = None
ANONYMOUS = ""
Caller = str | None


def digest(secret: str) -> str:
    """Return what the registry stores of a secret; ANONYMOUS for an empty one.

    Secrets are long and random, so a fast hash is enough.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest() if secret else ANONYMOUS


def is_owned_by_another(service: Service, caller: Caller) -> bool:
    """Return whether the service was registered with another secret, whether its lease holds or not."""
    return bool(service.owner) and caller is not OPERATOR and not hmac.compare_digest(service.owner, caller)


def check(service: Service | None, caller: Caller) -> bool:
    """Return True; raise Forbidden if another caller owns the service and its lease holds."""
    if service is not None and is_owned_by_another(service, caller) and not service.expired:
        raise Forbidden(
            f"{service.name} belongs to the babysitter on {service.hostname} that registered it, at {service.url}, "
            "while its lease holds; choose another name, wait until that one has ended, or, as an operator, show the "
            "registry's token and no X-Service-Secret",
            param="name",
            code="not_owner",
        )
    return True


def check_heartbeat(service: Service, caller: Caller) -> None:
    """Raise as `check` does, and NotFound if another caller owned the service, whose lease is over.

    A heartbeat does not revive the registration of another caller; NotFound makes the sender register its own.
    """
    check(service, caller)
    if is_owned_by_another(service, caller):
        raise NotFound(
            f"{service.name} was another's, whose lease has ended; register it with POST /services",
            param="name",
            code="unknown_service",
        )
