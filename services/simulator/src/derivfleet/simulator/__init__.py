"""Deriv on your own machine: both dialects over real sockets, seeded markets, a ledger that says what really happened.

``core`` is the service itself without I/O, ``wire`` puts it on sockets, ``settings`` and ``__main__`` start it.
"""
