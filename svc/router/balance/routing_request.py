"""The parts of a request that routing needs: its model, its session, its body. Pure."""

from urllib.parse import parse_qs

import msgspec

from svc.base.errors import BadRequest, UnsupportedMedia, UpgradeRequired
from svc.router.balance.account import Account
from svc.router.balance.fair_order import Charge
from svc.router.balance.target import Target
from svc.router.http.json_body import ABSENT, MAX_MODEL_CHARS, MAX_RAW_BYTES, Fields, JsonBody, read_body, user_id
from svc.router.http.multipart_form import find_field
from svc.router.http.request import Media, Request, RequestHead

MAX_QUERY_FIELDS = 64


class RoutingRequest(msgspec.Struct, gc=False):
    """The model in a request (None: any model), the session of the request (empty: none), and its body.

    `owner`: the instance that has the object which the request is about; None for most requests.
    `account`: the account that the request counts for while requests wait; None if it counts for none.
    `charge`: the tokens that the account is charged with; None until `RequestQueue.charge` has made it.
    `json`: the fields that were read from a JSON body; None if none were, or if the body was rewritten since.
    """

    model: str | None = None
    session: bytes = b""
    body: bytes = b""
    owner: Target | None = None
    json: JsonBody | None = None
    account: Account | None = None
    charge: Charge | None = None


def parse(request: Request) -> RoutingRequest:
    """Return the model, the session and the body of a request. A JSON body or a form without a model suits any model.

    Raise BadRequest for a body that cannot be parsed. If the body has any other type, or the request changes the
    protocol, the model must be in the query: if it is not, raise UnsupportedMedia or UpgradeRequired.
    """
    head, body = request.head, request.body
    if head.upgrade:
        return RoutingRequest(_tunnel_model(head), head.session)
    if not body:
        return RoutingRequest(None, head.session)
    if head.media is Media.JSON:
        json = read_body(body)
        fields = json.fields
        names_session = fields.prompt_cache_key is not ABSENT or fields.metadata is not ABSENT
        session = _session(head, fields) if names_session else head.session
        return RoutingRequest(fields.model or None, session, body, json=json)
    if head.media is Media.FORM:
        return RoutingRequest(_form_model(head, body), head.session, body)
    model = _query_model(head)
    if model is None:
        kind = head.content_type.decode("latin-1")
        raise UnsupportedMedia(
            f"cannot read a body of type {kind!r}; send JSON or a form, or name the model in ?model="
        )
    return RoutingRequest(model, head.session, body)


def _tunnel_model(head: RequestHead) -> str:
    model = _query_model(head)
    if model is None:
        raise UpgradeRequired("cannot tell which model this connection is for; name it in ?model=, or send a request")
    return model


def _form_model(head: RequestHead, body: bytes) -> str | None:
    """Return the value of the form field `model`; None if there is none; raise BadRequest for an invalid one."""
    place = find_field(body, head.content_type, b"model")
    if place is None:
        return None
    try:
        model = body[place][: MAX_RAW_BYTES + 1].decode()
    except UnicodeDecodeError:
        raise BadRequest("the form's model is not UTF-8; send its name", param="model") from None
    return _checked_model(model)


def _query_model(head: RequestHead) -> str | None:
    """Return the model in the query; None if the query contains none; raise BadRequest for an invalid query."""
    query = head.uri_text.partition("?")[2]
    try:
        values = parse_qs(query, True, errors="strict", max_num_fields=MAX_QUERY_FIELDS).get("model")
    except ValueError:
        raise BadRequest("cannot read the query; send it in UTF-8, with ?model= alone", param="model") from None
    return _checked_model(values[-1]) if values else None


def _checked_model(model: str) -> str | None:
    if len(model) > MAX_MODEL_CHARS:
        raise BadRequest(f"the model has over {MAX_MODEL_CHARS} characters; send its name", param="model")
    return model or None


def _session(head: RequestHead, fields: Fields) -> bytes:
    """Return the session that the body or the head names: the order is that of `svc.router.http.session_headers`."""
    key = bytes(fields.prompt_cache_key)
    if len(key) > 2 and key[:1] == b'"':
        return key[1:-1]
    if head.is_anthropic and not head.session_precedes_user_id:
        return user_id(fields.metadata) or head.session
    return head.session
