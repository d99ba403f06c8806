"""The name under which every supervisord.conf loads the supervisord extension.

Teams have committed files that name `svc.supervision.policy:make`, so this name stays; the code is in `extension`.
"""

from svc.supervision.extension import make

__all__ = ["make"]
