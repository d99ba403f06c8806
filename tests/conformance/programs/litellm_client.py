import json
import os

import litellm
from pydantic import BaseModel

at_router = {
    "model": "openai/" + os.environ["MODEL"],
    "api_base": os.environ["ROUTER_URL"] + "/v1",
    "api_key": os.environ["KEY"],
}
chat = {**at_router, "messages": [{"role": "user", "content": "Hello"}]}


class Colour(BaseModel):
    colour: str


parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
chunks = litellm.completion(**chat, stream=True)
called = litellm.completion(**chat, tools=tools, tool_choice="required").choices[0].message.tool_calls[0]
structured = litellm.completion(**chat, response_format=Colour).choices[0].message.content
response = litellm.responses(**at_router, input="Hello")
results = {
    "stream": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    "tool": json.loads(called.function.arguments),
    "schema": json.loads(structured),
    "responses": response.output[0].content[0].text,
    "embeddings": len(litellm.embedding(**at_router, input=["Hello"]).data[0]["embedding"]),
}
print(json.dumps(results))
