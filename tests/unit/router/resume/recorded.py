"""Streams that llama.cpp (October 2026, Gemma 3 270M) has sent, with the usage, for tests."""

CHAT = b"""data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1796124025,"id":"chatcmpl-zn9L","model":"gemma","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" The"}}],"created":1796124025,"id":"chatcmpl-zn9L","model":"gemma","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" colour"}}],"created":1796124038,"id":"chatcmpl-zn9L","model":"gemma","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}

:

data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" of"}}],"created":1796124068,"id":"chatcmpl-zn9L","model":"gemma","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}

data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1796124087,"id":"chatcmpl-zn9L","model":"gemma","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}

data: {"choices":[],"created":1796124087,"id":"chatcmpl-zn9L","model":"gemma","system_fingerprint":"b0-unknown","object":"chat.completion.chunk","usage":{"completion_tokens":3,"prompt_tokens":8,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0}},"timings":{"cache_n":0,"prompt_n":8,"prompt_ms":48501.682,"prompt_per_token_ms":6062.71025,"prompt_per_second":0.16494273332623804,"predicted_n":3,"predicted_ms":62227.372,"predicted_per_token_ms":12445.474400000001,"predicted_per_second":0.08035049270600725}}

data: [DONE]

"""  # noqa: E501
COMPLETION = b"""data: {"choices":[{"text":" three","index":0,"logprobs":null,"finish_reason":null}],"created":1796124090,"model":"gemma","system_fingerprint":"b0-unknown","object":"text_completion","id":"chatcmpl-kbkw"}

data: {"choices":[{"text":",","index":0,"logprobs":null,"finish_reason":null}],"created":1796124090,"model":"gemma","system_fingerprint":"b0-unknown","object":"text_completion","id":"chatcmpl-kbkw"}

data: {"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"created":1796124090,"model":"gemma","system_fingerprint":"b0-unknown","object":"text_completion","usage":{"completion_tokens":2,"prompt_tokens":5,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":1}},"id":"chatcmpl-kbkw","timings":{"cache_n":1,"prompt_n":4,"prompt_ms":266.79,"predicted_n":2,"predicted_ms":154.054}}

data: [DONE]

"""  # noqa: E501
MESSAGE = b"""event: message_start
data: {"type":"message_start","message":{"id":"chatcmpl-wqrP","type":"message","role":"assistant","content":[],"model":"gemma","stop_reason":null,"stop_sequence":null,"usage":{"cache_read_input_tokens":6,"input_tokens":2,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" The"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" colour"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"""  # noqa: E501
# What `/completions` (without /v1) answers: not OpenAI's form.
NATIVE = b"""data: {"index":0,"content":" three","tokens":[1806],"stop":false,"id_slot":-1,"tokens_predicted":1}

data: {"index":0,"content":",","tokens":[236764],"stop":false,"id_slot":-1,"tokens_predicted":2}

"""
