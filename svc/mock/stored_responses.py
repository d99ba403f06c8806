"""The responses that the mock keeps in memory, as vLLM and SGLang do: a restart forgets them. Pure."""

from typing import Any

from svc.base.errors import BadRequest, NotFound

MAX_STORED = 1000  # if there are more, the oldest is dropped


class StoredResponses:
    """Responses by id, each with the input items of its request."""

    def __init__(self) -> None:
        self._responses: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}  # the oldest first

    def add(self, response: dict[str, Any], items: list[dict[str, Any]]) -> None:
        self._responses[response["id"]] = response, items
        while len(self._responses) > MAX_STORED:
            del self._responses[next(iter(self._responses))]

    def get(self, response_id: str) -> dict[str, Any]:
        """Return the response; raise NotFound."""
        return self._entry(response_id)[0]

    def input_items(self, response_id: str) -> dict[str, Any]:
        """Return the list of the input items; raise NotFound."""
        return {"object": "list", "data": self._entry(response_id)[1], "has_more": False}

    def delete(self, response_id: str) -> dict[str, Any]:
        """Delete the response and return the confirmation; raise NotFound."""
        self._entry(response_id)
        del self._responses[response_id]
        return {"id": response_id, "object": "response.deleted", "deleted": True}

    def cancel(self, response_id: str) -> dict[str, Any]:
        """Cancel a response that is in progress in the background, and return it.

        Raise NotFound for an unknown id, and BadRequest for a response that is not in the background.
        """
        response, items = self._entry(response_id)
        if not response["background"]:
            raise BadRequest("Cannot cancel a synchronous response.", param="response_id")
        self._responses[response_id] = cancelled, _ = {**response, "status": "cancelled"}, items
        return cancelled

    def _entry(self, response_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        entry = self._responses.get(response_id)
        if entry is None:
            raise NotFound(f"Response with id '{response_id}' not found.", param="response_id")
        return entry
