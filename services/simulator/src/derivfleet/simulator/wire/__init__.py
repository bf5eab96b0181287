"""The simulated service on sockets: REST and both WebSocket dialects on one port, and a ledger that tests can read.

``connection_hub`` joins the exchange, the clock and the open sockets; ``session`` is one socket; ``options`` and
``legacy`` are the ways in; ``ledger`` is for tests and tools, and no part of Deriv; ``application`` puts all on one
HTTP server.
"""
