// Makes every kind of call with Anthropic's TypeScript SDK and prints what came back, as one object.
//
// Arguments: base URL, API key, model, and the user's name or nothing. The last call is meant to fail.

import Anthropic from "@anthropic-ai/sdk";

const message = ({ content, model, stop_reason, usage }) => ({
  text: content.filter(({ type }) => type === "text").map(({ text }) => text).join(""),
  model,
  stop_reason,
  usage: [usage.input_tokens, usage.output_tokens],
});

const [baseURL, apiKey, model, user] = process.argv.slice(1);
const defaultQuery = user ? { "claude-code-user": user } : undefined;
const client = new Anthropic({ baseURL, apiKey, defaultQuery, maxRetries: 0, timeout: 30_000 });
const prompt = { model, messages: [{ role: "user", content: "hello" }] };
const seen = { create: message(await client.messages.create({ max_tokens: 100, ...prompt })) };
seen.deltas = "";
const stream = client.messages.stream({ max_tokens: 100, ...prompt });
stream.on("text", (text) => (seen.deltas += text));
seen.stream = message(await stream.finalMessage());
seen.count = (await client.messages.countTokens(prompt)).input_tokens;
seen.models = [];
for await (const { id } of client.models.list()) seen.models.push(id);
try {
  await client.messages.create({ max_tokens: 100, ...prompt });
} catch (error) {
  const { type, message } = error.error.error;
  seen.error = { class: error.constructor.name, status: error.status, type, message };
}
console.log(JSON.stringify(seen));
