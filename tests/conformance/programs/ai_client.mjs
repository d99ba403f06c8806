import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, Output, streamText, tool } from "ai";
import { z } from "zod";

const { ROUTER_URL, KEY, MODEL } = process.env;
const site = createOpenAICompatible({
  name: "site",
  baseURL: `${ROUTER_URL}/v1`,
  apiKey: KEY,
  supportsStructuredOutputs: true,
});
const request = { model: site(MODEL), prompt: "Hello" };

const tools = { weather: tool({ description: "the weather", inputSchema: z.object({ city: z.string() }) }) };
const called = await generateText({ ...request, tools, toolChoice: "required" });
const output = Output.object({ schema: z.object({ colour: z.string() }) });
const results = {
  stream: await streamText(request).text,
  tool: called.toolCalls[0].input,
  schema: (await generateText({ ...request, output })).output,
  embeddings: (await embed({ model: site.textEmbeddingModel(MODEL), value: "Hello" })).embedding.length,
};
console.log(JSON.stringify(results));
