"""The clients that are tested: how each is installed, and what it can be asked to do."""

from dataclasses import dataclass

from tests.conformance import edit_tasks
from tests.conformance.edit_tasks import EditTask
from tests.conformance.environments import Environment, npm, python


@dataclass(frozen=True)
class Client:
    """`title` is that of its section in docs/CLIENTS.md.

    `program` is a file of programs/ that prints its result for each of `features` as one line of JSON. An agent has an
    `edit_task` instead.
    """

    title: str
    environment: Environment
    program: str = ""
    features: tuple[str, ...] = ()
    edit_task: EditTask | None = None


CHAT_FEATURES = ("stream", "tool", "schema")
LOOP = ("tool loop", "edit")

CLIENTS = [
    Client(
        "openai for Python",
        python("openai==3.57.0"),
        "openai_client.py",
        (*CHAT_FEATURES, "responses", "embeddings"),
    ),
    Client(
        "anthropic for Python",
        python("anthropic==2.14.0"),
        "anthropic_client.py",
        (*CHAT_FEATURES, "tokens"),
    ),
    Client(
        "openai for JavaScript",
        npm("openai@6.49.0", "zod@4.6.7"),
        "openai_client.mjs",
        (*CHAT_FEATURES, "responses", "embeddings"),
    ),
    Client(
        "@anthropic-ai/sdk",
        npm("@anthropic-ai/sdk@1.14.0"),
        "anthropic_client.mjs",
        (*CHAT_FEATURES, "tokens"),
    ),
    Client(
        "AI SDK",
        npm("ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92", "zod@4.6.7"),
        "ai_client.mjs",
        (*CHAT_FEATURES, "embeddings"),
    ),
    Client("LangChain", python("langchain-openai==1.7.4"), "langchain_client.py", (*CHAT_FEATURES, "embeddings")),
    Client("LiteLLM", python("litellm==1.110.2"), "litellm_client.py", (*CHAT_FEATURES, "responses", "embeddings")),
    Client("llm", python("llm==0.36")),
    Client("aider", python("aider-chat==0.86.2"), features=("edit",), edit_task=edit_tasks.AIDER),
    Client("Claude Code", npm("@anthropic-ai/claude-code@2.1.197"), features=LOOP, edit_task=edit_tasks.CLAUDE_CODE),
    Client("Codex", npm("@openai/codex@0.171.0"), features=LOOP, edit_task=edit_tasks.CODEX),
    Client("OpenCode", npm("opencode-ai@1.18.33"), features=LOOP, edit_task=edit_tasks.OPENCODE),
]
