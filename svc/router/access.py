"""Access to the router's own endpoints: the API key of a request, and who is an operator."""

from typing import TYPE_CHECKING

from flask import request

from svc.base.address import is_loopback
from svc.base.errors import Forbidden, Unauthorized, Unavailable
from svc.perimeter.proxy_headers import names_proxy
from svc.protocol.event import OPERATOR_TOKEN_HEADER
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.trusted_proxies import client_of, peer_address
from svc.router.state import RouterState

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient

NOT_OPERATOR = (
    "only operators may see this: send an operator's key (svc keys add NAME --operator), "
    f"or the registry's token in {OPERATOR_TOKEN_HEADER}"
)
WRONG_TOKEN = "this token is not the registry's write token (token_file)"  # noqa: S105 - a message


def identify(state: RouterState) -> ApiKey | None:
    """Return the key of this request; None if clients need none; raise Unauthorized if it has no valid key."""
    if state.keys is None:
        return None
    headers = request.headers
    return state.keys.identify(
        headers.get("Authorization", "").encode("latin-1"), headers.get("x-api-key", "").encode("latin-1")
    )


def identify_unrestricted(state: RouterState) -> None:
    """Raise Forbidden for a key that may use only some models, because the response shows all models.

    Raise Unauthorized as `identify` does. An operator's token admits as well.
    """
    if token := request.headers.get(OPERATOR_TOKEN_HEADER):
        _check_token(state, token)
        return
    key = identify(state)
    if key is not None and key.restricts_models and not key.operator:
        raise Forbidden("this API key may use only some models, so it may not see the instances")


def client_address(state: RouterState) -> str:
    """Return the address of the client that has sent Flask's current request, also behind trusted proxies."""
    forwarded = request.headers.get("X-Forwarded-For", "").encode("latin-1")
    return client_of(peer_address(request.remote_addr or ""), forwarded, state.trusted)


def operators_registry(state: RouterState, token: str) -> "RegistryClient":
    """Return a client of the registry that acts as the operator who has sent the current request with this token.

    The client sends the operator's token and address, not the router's own. The router may run on the registry's
    machine, where the registry may require no token.
    """
    from svc.client.registry import RegistryClient  # here, so that a router without a registry does not load it

    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": client_address(state)}
    urls = state.settings.registry_url.split(",")
    return RegistryClient(urls, timeout=state.settings.health_timeout, headers=headers)


def require_operator(state: RouterState) -> None:
    """Raise Unauthorized or Forbidden unless the current request comes from an operator.

    If clients need no keys, every program on the router's own machine is an operator. The registry has the same rule.
    """
    if token := request.headers.get(OPERATOR_TOKEN_HEADER):
        _check_token(state, token)
        return
    key = identify(state)
    if key is None:
        if names_proxy(request.headers) or not is_loopback(peer_address(request.remote_addr or "")):
            raise Unauthorized(NOT_OPERATOR)
    elif not key.operator:
        raise Forbidden(NOT_OPERATOR)


def _check_token(state: RouterState, token: str) -> None:
    if not state.settings.registry_url:
        raise Unavailable(
            "cannot check the token: no registry is configured; set registry_url under [router] in config/svc.toml"
        )
    try:
        operators_registry(state, token).require_write_access()
    except Unauthorized:  # the registry's own message is for programs, so operators get another one
        raise Unauthorized(WRONG_TOKEN) from None
