"""Publish a usage event from Python: `python examples/publish.py` with a local stack running."""

from chargeline.runtime.stack import load_stack
from chargeline.sdk.client import UsageClient

ANSWER = {"usage": {"prompt_tokens": 812, "completion_tokens": 96, "prompt_tokens_details": {"cached_tokens": 512}}}

stack = load_stack()
with UsageClient(stack.kafka, stack.registry, source="example") as client:
    owner = {"billing_account_id": "acme", "team": "search", "project": "assistant"}
    with client.measure(provider_name="openai", request_model="gpt-4o", operation_name="chat", **owner) as call:
        call.answered(ANSWER)  # here the model would be called
print("published; see `chargeline tail charges -n 1`")
