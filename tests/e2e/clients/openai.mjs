// The official npm client through a router; tests/e2e/test_clients.py starts that, and gives the URLs and keys.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import OpenAI, { toFile } from "openai";

const { OPEN_URL, KEYED_URL, ALPHA_URL, WIDE_KEY, NARROW_KEY } = process.env;
const messages = [{ role: "user", content: "Hello there" }];
const chat = { model: "qwen", messages };
const well = { tokens: null, token_delay: 0, cut_after: null, hang_after: null };

const at = (url, apiKey = "none", more = {}) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, timeout: 20_000, ...more });
const client = at(OPEN_URL);

const get = async (path) => (await fetch(ALPHA_URL + path)).json();
const behave = (changes) => fetch(`${ALPHA_URL}/mock/behave`, { method: "POST", body: JSON.stringify(changes) });
const collect = async (stream, found = []) => {
  for await (const item of stream) found.push(item);
  return found;
};
const until = async (condition) => {
  const deadline = Date.now() + 2000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `not within 2 s: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

afterEach(() => behave(well));

test("models", async () => {
  const models = await collect(await client.models.list());
  assert.deepEqual(models.map((model) => model.id).sort(), ["both", "org/llama", "qwen"]);
  assert.equal((await client.models.retrieve("org/llama")).id, "org/llama");
  await assert.rejects(client.models.retrieve("nope"), OpenAI.NotFoundError);
});

test("a chat, and the request's id", async () => {
  const { data, request_id } = await client.chat.completions
    .create(chat, { headers: { "x-request-id": "mine" } })
    .withResponse();
  assert.equal(data.choices[0].message.content, "alpha heard: Hello there");
  assert.equal(data.usage.completion_tokens, 4);
  assert.equal(request_id, "mine");
});

test("a streamed chat with its usage", async () => {
  const asked = { ...chat, stream: true, stream_options: { include_usage: true } };
  const chunks = await collect(await client.chat.completions.create(asked));
  const said = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? ""));
  assert.deepEqual(said, ["alpha", " heard:", " Hello", " there", ""]);
  assert.equal(chunks.at(-1).usage.completion_tokens, 4);
});

test("a tool call, whole and streamed", async () => {
  const properties = { city: { type: "string" } };
  const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties } } }];
  const asked = { ...chat, tools, tool_choice: "required" };
  const whole = await client.chat.completions.create(asked);
  const streamed = await client.chat.completions.stream(asked).finalChatCompletion();
  for (const { choices } of [whole, streamed]) {
    const [call] = choices[0].message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.deepEqual(JSON.parse(call.function.arguments), { city: "Hello there" });
  }
});

test("completions and embeddings", async () => {
  const answer = await client.completions.create({ model: "org/llama", prompt: "one" });
  assert.equal(answer.choices[0].text, "beta heard: one");
  const embedded = await client.embeddings.create({ model: "qwen", input: ["x", "y"], dimensions: 8 });
  assert.deepEqual(embedded.data.map((item) => item.embedding.length), [8, 8]);
});

test("a response, whole and streamed", async () => {
  const asked = { model: "qwen", input: "Hello there" };
  assert.equal((await client.responses.create(asked)).output_text, "alpha heard: Hello there");
  const events = await collect(await client.responses.create({ ...asked, stream: true }));
  assert.equal(events.at(-1).type, "response.completed");
  assert.equal((await client.responses.stream(asked).finalResponse()).output_text, "alpha heard: Hello there");
});

test("audio and images", async () => {
  const sound = await client.audio.speech.create({ model: "qwen", input: "Hello", voice: "alloy" });
  const bytes = Buffer.from(await sound.arrayBuffer());
  assert.equal(bytes.subarray(0, 4).toString(), "RIFF");
  const file = await toFile(bytes, "hello.wav");
  for (const _ of [1, 2]) {
    const { text } = await client.audio.transcriptions.create({ model: "org/llama", file });
    assert.equal(text, `beta heard: hello.wav, ${bytes.length} bytes`);
  }
  const images = await client.images.generate({ model: "qwen", prompt: "a cat" });
  assert.equal(Buffer.from(images.data[0].b64_json, "base64").subarray(1, 4).toString(), "PNG");
});

test("a model that nobody has", async () => {
  await assert.rejects(client.chat.completions.create({ ...chat, model: "nope" }), (error) => {
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.deepEqual([error.status, error.code], [503, "service_unavailable"]);
    assert.match(error.message, /No healthy services available for model 'nope'/);
    return true;
  });
});

test("a cut stream", async () => {
  await behave({ cut_after: 2 });
  const asks = [
    () => client.chat.completions.create({ ...chat, stream: true }),
    () => client.responses.create({ model: "qwen", input: "x y", stream: true }),
  ];
  for (const ask of asks) {
    const heard = [];
    await assert.rejects(ask().then((stream) => collect(stream, heard)), (error) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.ok(!(error instanceof OpenAI.APIConnectionError));
      assert.equal(error.code, "bad_gateway");
      return true;
    });
    assert.equal(heard.length, 2);
  }
});

test("keys", async () => {
  await assert.rejects(at(KEYED_URL, "sk-wrong").chat.completions.create(chat), (error) => {
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
    return true;
  });
  assert.ok((await at(KEYED_URL, WIDE_KEY).chat.completions.create(chat)).choices.length);
});

test("over the limit it waits as long as it is told", async () => {
  await behave({ hang_after: 1 });
  const held = await at(KEYED_URL, NARROW_KEY).chat.completions.create({ ...chat, stream: true });
  const parts = held[Symbol.asyncIterator]();
  await parts.next();
  await assert.rejects(at(KEYED_URL, NARROW_KEY).chat.completions.create(chat), OpenAI.RateLimitError);
  const refused = [];
  const seen = async (...asked) => {
    const answer = await fetch(...asked);
    if (answer.status === 429) {
      refused.push([Date.now(), 1000 * Number(answer.headers.get("retry-after"))]);
      held.controller.abort();
    }
    return answer;
  };
  const patient = at(KEYED_URL, NARROW_KEY, { maxRetries: 1, fetch: seen });
  assert.ok((await patient.chat.completions.create(chat)).choices.length);
  assert.equal(refused.length, 1);
  const [[when, wait]] = refused;
  const waited = Date.now() - when;
  assert.ok(wait >= 1000 && waited >= wait - 5 && waited < wait + 5000, `${waited} ms for ${wait}`);
});

test("a stream that the client aborts ends at the instance", async () => {
  await behave({ tokens: 100_000, token_delay: 0.01 });
  const before = (await get("/mock/stats")).cut_by_client;
  const stream = await client.chat.completions.create({ ...chat, stream: true });
  for await (const _ of stream) break; // the client aborts when it is no longer read
  await until(async () => (await get("/mock/stats")).cut_by_client === before + 1);
  assert.equal((await get("/mock/stats")).open_streams, 0);
});
