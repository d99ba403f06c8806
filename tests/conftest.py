"""For all tests: what they start can be interrupted, also where a shell runs them in the background; and it finds
what Debian keeps for administrators (nginx, nft, logrotate) whoever runs them."""

import os
import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
