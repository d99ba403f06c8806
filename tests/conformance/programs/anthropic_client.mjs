import Anthropic from "@anthropic-ai/sdk";

const { ROUTER_URL, KEY, MODEL } = process.env;
const client = new Anthropic({ baseURL: ROUTER_URL, apiKey: KEY });
const request = { model: MODEL, messages: [{ role: "user", content: "Hello" }] };
const message = { ...request, max_tokens: 256 };
const schemaOf = (name) => ({ type: "object", properties: { [name]: { type: "string" } }, required: [name] });

const tools = [{ name: "weather", input_schema: schemaOf("city") }];
const called = await client.messages.stream({ ...message, tools, tool_choice: { type: "any" } }).finalMessage();
const format = { type: "json_schema", schema: { ...schemaOf("colour"), additionalProperties: false } };
const structured = await client.messages.create({ ...message, output_config: { format } });
const results = {
  stream: await client.messages.stream(message).finalText(),
  tool: called.content[0].input,
  schema: JSON.parse(structured.content[0].text),
  tokens: (await client.messages.countTokens(request)).input_tokens,
};
console.log(JSON.stringify(results));
