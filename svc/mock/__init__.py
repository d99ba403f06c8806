"""A mock inference backend with the APIs of OpenAI and Anthropic, which misbehaves on request.

An answer repeats the prompt (`NAME heard: ...`) and has the header `x-mock-name: NAME`,
which shows which instance answered. A `Behaviour` defines how the mock misbehaves: the
command's flags set it at the start, `POST /mock/behave` while the mock runs. `GET /mock/stats`
reports the requests that reached the mock and how they ended; `/echo` returns the request itself.
"""
