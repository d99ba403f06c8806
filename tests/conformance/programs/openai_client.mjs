import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const { ROUTER_URL, KEY, MODEL } = process.env;
const client = new OpenAI({ baseURL: `${ROUTER_URL}/v1`, apiKey: KEY });
const chat = { model: MODEL, messages: [{ role: "user", content: "Hello" }] };

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "weather", parameters } }];
const called = await client.chat.completions.create({ ...chat, tools, tool_choice: "required" });
const colour = zodResponseFormat(z.object({ colour: z.string() }), "colour");
const parsed = await client.chat.completions.parse({ ...chat, response_format: colour });
const results = {
  stream: await client.chat.completions.stream(chat).finalContent(),
  tool: JSON.parse(called.choices[0].message.tool_calls[0].function.arguments),
  schema: parsed.choices[0].message.parsed,
  responses: (await client.responses.create({ model: MODEL, input: "Hello" })).output_text,
  embeddings: (await client.embeddings.create({ model: MODEL, input: "Hello" })).data[0].embedding.length,
};
console.log(JSON.stringify(results));
