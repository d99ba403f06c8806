import json
import os

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

at_router = {"base_url": os.environ["ROUTER_URL"] + "/v1", "api_key": os.environ["KEY"], "model": os.environ["MODEL"]}
model = ChatOpenAI(**at_router)


class Colour(BaseModel):
    colour: str


def weather(city: str) -> str:
    """Return the weather in a city."""
    return city


results = {
    "stream": "".join(chunk.text for chunk in model.stream("Hello")),
    "tool": model.bind_tools([weather], tool_choice="any").invoke("Hello").tool_calls[0]["args"],
    "schema": model.with_structured_output(Colour).invoke("Hello").model_dump(),
    "embeddings": len(OpenAIEmbeddings(**at_router, check_embedding_ctx_length=False).embed_query("Hello")),
}
print(json.dumps(results))
