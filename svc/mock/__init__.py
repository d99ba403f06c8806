"""A fake inference backend with the APIs of OpenAI and Anthropic, which misbehaves on request.

An answer repeats the prompt (`NAME heard: ...`) and carries the header `x-mock-name: NAME`,
which shows which instance answered. A `Behaviour` says how it misbehaves: set by the
command's flags at the start, and by `POST /mock/behave` while it runs. `GET /mock/stats` reports
the requests that reached it and how they ended; `/echo` answers with the request itself.
"""
