"""Tool calls that a prompt dictates, one after the other, for tests of the tool loops of agents. Pure.

Each line `call NAME ARGUMENTS` of a prompt, with a JSON object as the arguments, is one call. The mock makes each call
in an answer of its own, after the result of the previous call has arrived. Its last answer repeats the last result.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CALL = re.compile(r"^[ \t]*call ([A-Za-z0-9_.-]+) (\{.*\})[ \t]*$", re.M)


@dataclass(frozen=True, slots=True)
class Turn:
    """The content of one message of a client: texts of the user, and results of tools."""

    texts: Sequence[str] = ()
    results: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A call of a tool. `number` counts the calls of a prompt from 1."""

    name: str
    arguments: str
    number: int


@dataclass(frozen=True, slots=True)
class ToolScript:
    """The calls in the last prompt with calls, and the results that have arrived since then."""

    calls: Sequence[ScriptedCall] = ()
    results: Sequence[str] = ()

    def next_call(self, names: Iterable[str]) -> ScriptedCall | None:
        """Return the call to make now: the first without a result, if a tool of that name is among `names`."""
        if len(self.results) >= len(self.calls):
            return None
        call = self.calls[len(self.results)]
        return call if call.name in names else None

    @property
    def last_result(self) -> str | None:
        """The result of the last call; None before it has arrived."""
        return self.results[-1] if self.calls and len(self.results) >= len(self.calls) else None


def tool_script(turns: Iterable[Turn]) -> ToolScript:
    """Return the script of a conversation."""
    calls: list[ScriptedCall] = []
    results: list[str] = []
    for turn in turns:
        results += turn.results
        for text in turn.texts:
            if lines := CALL.findall(text):
                calls = [ScriptedCall(name, arguments, at) for at, (name, arguments) in enumerate(lines, 1)]
                results = []
    return ToolScript(tuple(calls), tuple(results))
