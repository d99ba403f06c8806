"""Refuses requests for models that their API key may not use, with the same error as for models that do not exist."""

from svc.base.errors import BadRequest, SvcError, UnsupportedMedia
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.unserved import UnknownModel, client_error, hidden_error
from svc.router.http.request import Media
from svc.router.proxy.api_keys import ApiKey
from svc.router.proxy.exchange import Exchange


def check_model(exchange: Exchange, key: ApiKey, routing: RoutingRequest) -> None:
    """Raise SvcError if the key may not use the model that the client has named in a request.

    A request without a model could reach any model. So it is refused, unless it is about an object that an instance
    keeps, or has an operator's key. A body that the router does not read is refused too, because it could name another
    model to the instance.
    """
    head = exchange.request.head
    if routing.model is None:
        is_about_object = head.object_path is not None and head.object_path.object_id
        if not is_about_object and not key.operator:
            raise BadRequest(f"the API key {key.name} may use only some models; name one in `model`", param="model")
    elif head.media is Media.OTHER and routing.body:
        raise UnsupportedMedia(f"the API key {key.name} may use only some models; send JSON or a form that names one")
    elif not key.allows(routing.model):
        exchange.model, exchange.hides_model = routing.model, True
        raise hidden_error(routing.model, exchange.state.balancer.table)


def refusal(exchange: Exchange, error: UnknownModel) -> SvcError:
    """Return the error for a request for a model that does not exist, or that the key may not use."""
    key, balancer = exchange.restricted_key, exchange.state.balancer
    setting = exchange.state.settings.unknown_model_status
    allows = key.allows if key is not None else None
    return client_error(error, setting, exchange.request.head.uri, balancer.table, balancer.aliases, allows)
