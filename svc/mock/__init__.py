"""A fake OpenAI backend: real enough for the official client, and ill-behaved on request.

An answer repeats what was asked (`NAME heard: ...`) and carries `x-mock-name: NAME`,
so that one sees which instance answered. How it misbehaves is a `Behaviour`: the
command's flags at the start, `POST /mock/behave` while it runs. `GET /mock/stats`
tells what reached it and how it ended; `/echo` answers with the request itself.
"""
