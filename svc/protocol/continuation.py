"""The fields of a request to continue an answer, and the user agent with which babysitters probe for it."""

# Fields of a chat whose last message is the beginning of the answer. vLLM and SGLang need both. llama.cpp continues
# such a message anyway, and refuses the first field without the second.
CONTINUE_FIELDS = {"continue_final_message": True, "add_generation_prompt": False}
PROBE_USER_AGENT = "svc-continuation-probe"
