"""One hour of trading, three times: the same bots, market, faults and limits under three designs.

``lock`` and ``sockets`` are two programs as people write them for Deriv, straight on its WebSocket; ``fleet`` is this
project's gateway with its bots. ``design_run`` runs each of them as processes beside a simulator of its own.
``figures`` takes what happened from the simulator's ledger, for all three alike. Only how long an operation took is
told by the bots themselves, in their logs (``bot_logs``).
"""
