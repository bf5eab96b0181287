"""The simulated Deriv without I/O: markets, accounts, limits, faults, streams, and the exchange that joins them.

Everything is told the time, and everything random comes from the seed. What should happen on a socket leaves as an
effect (``effects``); the wire carries it out.
"""
