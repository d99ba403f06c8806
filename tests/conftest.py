"""For all tests: what they start can be interrupted, also where a shell runs them in the background."""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
