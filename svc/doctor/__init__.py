"""`svc doctor`: what is wrong with a site, how that is known, and what cures it.

`collect` gathers the facts, `checks` turn facts into findings (pure), `findings` puts causes before their
consequences, `diagnosis` writes them as text and JSON.
"""
