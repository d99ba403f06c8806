"""The fields of a request to continue an answer, and the user agent of the babysitters' probes for this ability."""

# Fields of a chat request whose last message is the beginning of the answer. vLLM and SGLang need both. llama.cpp
# needs neither, and refuses the first without the second.
CONTINUE_FIELDS = {"continue_final_message": True, "add_generation_prompt": False}
PROBE_USER_AGENT = "svc-continuation-probe"
