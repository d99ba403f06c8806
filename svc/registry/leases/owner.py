"""Ownership of names: a babysitter that registers a name with a secret owns it while the lease is valid. Pure.

A caller is the digest of the secret in the request, OPERATOR for a request with the registry's token and no secret, or
ANONYMOUS for a request with neither. In a request with both, the secret counts: every babysitter has the token, so the
token does not prove the ownership of a name.
"""

import hashlib
import hmac

from svc.base.errors import Forbidden, NotFound
from svc.protocol.service import Service

OPERATOR = None
ANONYMOUS = ""
Caller = str | None


def digest(secret: str) -> str:
    """Return the digest that the registry stores in place of a secret; ANONYMOUS for an empty secret.

    Secrets are long and random, so a fast hash is enough.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest() if secret else ANONYMOUS


def is_owned_by_another(service: Service, caller: Caller) -> bool:
    """Return whether another caller registered the service with a secret, even if the lease is over."""
    return bool(service.owner) and caller is not OPERATOR and not hmac.compare_digest(service.owner, caller)


def check(service: Service | None, caller: Caller, now: float | None = None) -> bool:
    """Return True, or raise Forbidden if another caller owns the service and its lease is valid.

    If `now` is given, the owner of a static service loses the name when it has sent no heartbeat for lease_seconds. The
    lease of a static service never ends, so an owner that has lost its secret could otherwise never use the name again.
    """
    is_silent = service is not None and now is not None and _is_silent_static(service, now)
    if service is not None and is_owned_by_another(service, caller) and not (service.expired or is_silent):
        raise Forbidden(
            f"{service.name} belongs to the babysitter on {service.hostname} that registered it, at {service.url}, "
            "while its lease holds; choose another name, wait until that one has ended, or, as an operator, show the "
            "registry's token and no X-Service-Secret",
            param="name",
            code="not_owner",
        )
    return True


def _is_silent_static(service: Service, now: float) -> bool:
    return service.is_static() and now >= service.last_heartbeat + service.lease_seconds


def check_heartbeat(service: Service, caller: Caller) -> None:
    """Raise Forbidden as `check` does; raise NotFound if another caller owned the service and its lease is over.

    A heartbeat must not revive the registration of another caller. After NotFound, the sender registers again.
    """
    check(service, caller)
    if is_owned_by_another(service, caller):
        raise NotFound(
            f"{service.name} was another's, whose lease has ended; register it with POST /services",
            param="name",
            code="unknown_service",
        )
