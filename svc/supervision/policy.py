"""The module name under which every supervisord.conf loads the supervisord extension.

The code is in `extension`. This name stays, because committed files contain `svc.supervision.policy:make`.
"""

from svc.supervision.extension import make

__all__ = ["make"]
