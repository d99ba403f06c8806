"""The prompt with which each agent changes a file, by calls of tools that the mock requests as the prompt dictates."""

from dataclasses import dataclass

FILE, BEFORE, AFTER = "note.txt", "one\n", "two\n"
SEARCH_REPLACE = f"Do this:\n\n{FILE}\n<<<<<<< SEARCH\n{BEFORE}=======\n{AFTER}>>>>>>> REPLACE\n"


@dataclass(frozen=True)
class EditTask:
    """`arguments` replaces "Hello" in the client's command; in it, $PROMPT is the `prompt`.

    In the prompt, DIRECTORY is the agent's directory. The agent sends `requests` requests: one for each call that the
    prompt dictates, and one with the result of the last call.
    """

    arguments: str
    prompt: str
    requests: int


def tool_calls(*calls: str) -> tuple[str, int]:
    """Return a prompt that dictates these calls, and the number of requests that they take."""
    return "\n".join(["Do this:", *(f"call {call}" for call in calls)]), len(calls) + 1


AIDER = EditTask(f'"$PROMPT" --edit-format diff --yes-always --no-git {FILE}', SEARCH_REPLACE, 1)
CLAUDE_CODE = EditTask(
    '"$PROMPT" --allowedTools Read,Edit,Bash',
    *tool_calls(
        f'Read {{"file_path": "DIRECTORY/{FILE}"}}',
        f'Edit {{"file_path": "DIRECTORY/{FILE}", "old_string": "one", "new_string": "two"}}',
        f'Bash {{"command": "cat {FILE}", "description": "Show the note"}}',
    ),
)
CODEX = EditTask(
    '"$PROMPT" --dangerously-bypass-approvals-and-sandbox',  # the sandbox needs rights that a container lacks
    *tool_calls(
        f'exec_command {{"cmd": "cat {FILE}"}}',
        f'exec_command {{"cmd": "sed -i s/one/two/ {FILE}"}}',
        f'exec_command {{"cmd": "cat {FILE}"}}',
    ),
)
OPENCODE = EditTask(
    '"Task:" <<< "$PROMPT"',  # it escapes the quotation marks of an argument
    *tool_calls(
        f'read {{"filePath": "DIRECTORY/{FILE}"}}',
        f'edit {{"filePath": "DIRECTORY/{FILE}", "oldString": "one", "newString": "two"}}',
        f'bash {{"command": "cat {FILE}", "description": "Show the note"}}',
    ),
)
