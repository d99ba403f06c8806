"""Requests about objects that one instance keeps: they go to this instance, and its answers show which objects it has.

The id of a new object is read from the beginning of the answer to the request that makes it, and is recorded before the
client gets it. The ids of the files that a batch has made are read from the answers about the batch. Other answers are
not read.
"""

from typing import TYPE_CHECKING

from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.router.http.object_paths import MAX_READ_BYTES, ObjectFields, created_id, file_ids, read_object_fields

if TYPE_CHECKING:
    from svc.router.proxy.exchange import Exchange

MAX_READ_PIECES = 128  # limit for one answer, because each piece is read with all before it, and may be a single byte


class StoredObject:
    """The object that a request is about. `owner`: the instance that is known to have it, or None.

    `touch`: the object counts as used now, because the request is about to be sent.
    """

    def __init__(self, exchange: "Exchange", routing: RoutingRequest, touch: bool = True) -> None:
        path = exchange.request.head.object_path
        assert path is not None
        self._path = path
        self._fields = read_object_fields(routing.body) if routing.body else ObjectFields()
        self.object_id = ""  # the id of an object whose owner is known; "" without one
        self.owner = self._find_owner(exchange, routing, touch)

    @property
    def object_ids(self) -> tuple[str, ...]:
        """The ids of all objects that the request names, in its path and in its body."""
        return tuple(filter(None, (self._path.object_id, *self._fields.object_ids)))

    def _find_owner(self, exchange: "Exchange", routing: RoutingRequest, touch: bool) -> Target | None:
        """Return the instance that has the object, also if it is drained, ejected or fails its checks.

        No other instance could answer: its 404 would be wrong. If the instance does not run, or does not have the
        model, the request goes to any instance, as one with an unknown id does.
        """
        state = exchange.state
        for object_id in self.object_ids:
            owner = state.objects.find(object_id, state.balancer.table.targets, touch)
            if owner is not None:
                self.object_id = object_id
                serves = routing.model is None or routing.model in owner.models
                return owner if serves and owner.status == "running" else None
        return None

    def record_response(self, exchange: "Exchange") -> None:
        """Record what the response's head shows about the object. If the body may have new ids, prepare to read it."""
        objects, path, is_success = exchange.state.objects, self._path, 200 <= exchange.status < 300
        if is_success and path.creates and self._fields.keeps:
            exchange.id_reader = ObjectIdReader(exchange)
            if exchange.stream is not None:
                exchange.stream.id_reader = exchange.id_reader
        elif is_success and path.deletes:
            objects.remove(path.object_id)
        elif is_success and path.reads and self.owner is None:
            objects.add(path.object_id, exchange.instance)
        if is_success and path.is_batch:
            exchange.id_reader = ObjectIdReader(exchange, of_batch=True)


class ObjectIdReader:
    """Records the id of the new object in the beginning of a response.

    `of_batch`: the response is a batch instead, which may name several files that it has made.
    """

    def __init__(self, exchange: "Exchange", of_batch: bool = False) -> None:
        self._objects = exchange.state.objects
        self._instance = exchange.instance
        self._events = exchange.stream is not None
        self._of_batch = of_batch
        self._data = b""
        self._pieces = 0
        self._finished = False

    def feed(self, data: bytes) -> None:
        """Read the next part of the body, before it is passed on."""
        if self._finished:
            return
        self._data += data[: MAX_READ_BYTES - len(self._data)]
        self._pieces += 1
        object_ids = file_ids(self._data) if self._of_batch else [created_id(self._data, self._events)]
        for object_id in filter(None, object_ids):
            self._objects.add(object_id, self._instance)
        is_last = len(self._data) >= MAX_READ_BYTES or self._pieces >= MAX_READ_PIECES
        self._finished = is_last or (any(object_ids) and not self._of_batch)
