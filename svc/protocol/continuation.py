"""How an engine is asked to continue the beginning of an answer, and how babysitters ask whether it can."""

# Fields of a chat whose last message is the beginning of the answer. vLLM and SGLang need both. llama.cpp continues
# such a message anyway, and refuses the first field without the second.
CONTINUE_FIELDS = {"continue_final_message": True, "add_generation_prompt": False}
PROBE_USER_AGENT = "svc-continuation-probe"
