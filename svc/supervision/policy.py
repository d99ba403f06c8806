"""An alias of `extension`: every rendered supervisord.conf loads `svc.supervision.policy:make`.

The alias must be kept, because operators have committed such files. The restart limits are in `restart_limits`.
"""

from svc.supervision.extension import make

__all__ = ["make"]
