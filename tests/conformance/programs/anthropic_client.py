import json
import os

import anthropic
from pydantic import BaseModel

client = anthropic.Anthropic(base_url=os.environ["ROUTER_URL"], api_key=os.environ["KEY"])
request = {"model": os.environ["MODEL"], "messages": [{"role": "user", "content": "Hello"}]}
message = {**request, "max_tokens": 256}


class Colour(BaseModel):
    colour: str


schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"name": "weather", "input_schema": schema}]
with client.messages.stream(**message) as stream:
    text = stream.get_final_text()
with client.messages.stream(**message, tools=tools, tool_choice={"type": "any"}) as stream:
    called = stream.get_final_message().content[0]
results = {
    "stream": text,
    "tool": called.input,
    "schema": client.messages.parse(**message, output_format=Colour).parsed_output.model_dump(),
    "tokens": client.messages.count_tokens(**request).input_tokens,
}
print(json.dumps(results))
