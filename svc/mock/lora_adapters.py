"""LoRA adapters that can be loaded and unloaded at run time, with vLLM's messages and errors. Pure."""

from typing import Any

import msgspec

from svc.base.errors import BadRequest, NotFound


class LoadAdapterBody(msgspec.Struct):
    lora_name: str = ""
    lora_path: str = ""
    load_inplace: bool = False


class UnloadAdapterBody(msgspec.Struct):
    lora_name: str = ""


class LoraAdapters:
    """The loaded adapters, with the path of each. `base` is the model that they adapt."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._paths: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def load(self, request: LoadAdapterBody) -> str:
        """Load an adapter and return vLLM's message; raise BadRequest in the same cases as vLLM."""
        name = request.lora_name
        if not name or not request.lora_path:
            raise BadRequest("Both 'lora_name' and 'lora_path' must be provided.")
        if name in self._paths and not request.load_inplace:
            raise BadRequest(
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
                "set 'load_inplace' to True."
            )
        self._paths[name] = request.lora_path
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, request: UnloadAdapterBody) -> str:
        """Unload an adapter and return vLLM's message; raise BadRequest or NotFound in the same cases as vLLM."""
        name = request.lora_name
        if not name:
            raise BadRequest("'lora_name' needs to be provided to unload a LoRA adapter.")
        if self._paths.pop(name, None) is None:
            raise NotFound(f"The lora adapter '{name}' cannot be found.")
        return f"Success: LoRA adapter '{name}' removed successfully."

    def model_fields(self) -> list[dict[str, Any]]:
        """Return, for each adapter, the fields in which its entry in the model list differs from the base model's."""
        return [{"id": name, "root": path, "parent": self.base} for name, path in self._paths.items()]
