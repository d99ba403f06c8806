// One streamed chat with the official npm client; tests/e2e/test_resumed_answers.py reads what it prints.
// A line "begun" follows after BEGUN pieces of text, and the whole answer as JSON at the end.

import OpenAI from "openai";

const { ROUTER_URL, REQUEST, REQUEST_ID, BEGUN } = process.env;
const client = new OpenAI({ baseURL: `${ROUTER_URL}/v1`, apiKey: "none", maxRetries: 0, timeout: 120_000 });
const stream = client.chat.completions.stream(JSON.parse(REQUEST), { headers: { "x-request-id": REQUEST_ID } });
let pieces = 0;
let usage = null;
const ids = new Set();
for await (const chunk of stream) {
  ids.add(chunk.id);
  usage = chunk.usage ?? usage;
  if (chunk.choices[0]?.delta.content && ++pieces === Number(BEGUN)) console.log("begun");
}
const { choices } = await stream.finalChatCompletion();
const { message, finish_reason } = choices[0];
const answer = { text: message.content, finish: finish_reason, tokens: usage.completion_tokens, ids: [...ids] };
console.log(JSON.stringify(answer));
