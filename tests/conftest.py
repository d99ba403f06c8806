"""For all tests: what they start can be interrupted, also where a shell runs them in the background; and it finds
what Debian keeps for administrators (nginx, nft, logrotate) whoever runs them."""

import os
import signal

from hypothesis import settings

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# A busy machine may take any time for one example; what takes too long altogether fails by the clock of the suite.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
