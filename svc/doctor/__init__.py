"""`svc doctor`: looks at everything, and says what is wrong, why, and what cures it.

`look` gathers facts (all that acts is there, in `host` and in `asking`), `checks`
make findings of facts (pure), `findings` puts causes before their consequences,
`tell` writes it down.
"""
