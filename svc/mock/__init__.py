"""A mock inference backend with the APIs of OpenAI and Anthropic, which misbehaves on request.

An answer repeats the prompt (`NAME heard: ...`). Its header `x-mock-name: NAME` shows which instance answered. A
`Behaviour` defines how the mock misbehaves: the flags of `svc mock` set it at the start, `POST /mock/behave` while the
mock runs. `GET /mock/stats` reports the requests that reached the mock and how they ended. `/echo` returns the request
itself.
"""
