"""Makes every kind of call with Anthropic's Python SDK and prints what came back, as one object.

Arguments: base URL, API key, model, and the user's name or nothing. The last call is meant to fail.
"""

import json
import sys

import anthropic


def message(seen):
    text = "".join(block.text for block in seen.content if block.type == "text")
    usage = [seen.usage.input_tokens, seen.usage.output_tokens]
    return {"text": text, "model": seen.model, "stop_reason": seen.stop_reason, "usage": usage}


base_url, api_key, model, user = sys.argv[1:]
query = {"claude-code-user": user} if user else None
client = anthropic.Anthropic(
    base_url=base_url, api_key=api_key, default_query=query, max_retries=0, timeout=30
)
prompt = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
seen = {"create": message(client.messages.create(max_tokens=100, **prompt))}
with client.messages.stream(max_tokens=100, **prompt) as stream:
    seen["deltas"] = "".join(stream.text_stream)
    seen["stream"] = message(stream.get_final_message())
seen["count"] = client.messages.count_tokens(**prompt).input_tokens
seen["models"] = [listed.id for listed in client.models.list()]
try:
    client.messages.create(max_tokens=100, **prompt)
except anthropic.APIStatusError as error:
    envelope = error.body["error"]
    seen["error"] = {
        "class": type(error).__name__,
        "status": error.status_code,
        "type": envelope["type"],
        "message": envelope["message"],
    }
print(json.dumps(seen))
