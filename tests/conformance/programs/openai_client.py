import json
import os

import openai
from pydantic import BaseModel

client = openai.OpenAI(base_url=os.environ["ROUTER_URL"] + "/v1", api_key=os.environ["KEY"])
model = os.environ["MODEL"]
chat = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}


class Colour(BaseModel):
    colour: str


parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
with client.chat.completions.stream(**chat) as stream:
    text = stream.get_final_completion().choices[0].message.content
called = client.chat.completions.create(**chat, tools=tools, tool_choice="required").choices[0].message.tool_calls[0]
results = {
    "stream": text,
    "tool": json.loads(called.function.arguments),
    "schema": client.chat.completions.parse(**chat, response_format=Colour).choices[0].message.parsed.model_dump(),
    "responses": client.responses.create(model=model, input="Hello").output_text,
    "embeddings": len(client.embeddings.create(model=model, input="Hello").data[0].embedding),
}
print(json.dumps(results))
