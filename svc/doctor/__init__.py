"""`svc doctor`: finds the problems of a site, with their evidence and their cures.

`collect` collects facts, `checks` turn facts into findings (pure), `findings` orders causes before their
consequences, and `diagnosis` formats the findings as text and JSON.
"""
