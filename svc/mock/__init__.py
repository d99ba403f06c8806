"""A mock inference backend with the APIs of OpenAI and Anthropic, which misbehaves on request.

An answer repeats the prompt (`NAME heard: ...`). Its header `x-mock-name: NAME` shows which instance answered. A
`Behaviour` defines how the mock misbehaves. The flags of `svc mock` set it at the start, and `POST /mock/behave`
changes it while the mock runs. `GET /mock/stats` returns the number of requests that reached the mock, and how they
ended. `/echo` returns the request itself.
"""
