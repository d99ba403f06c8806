"""What a mock is started with."""

from dataclasses import dataclass, field

from svc.mock.behaviour import Behaviour


@dataclass(frozen=True, slots=True)
class MockConfig:
    name: str
    port: int
    models: tuple[str, ...]
    host: str = "127.0.0.1"
    child: bool = False
    api_key: str = ""  # that it wants of its callers; empty: none
    behaviour: Behaviour = field(default_factory=Behaviour)
