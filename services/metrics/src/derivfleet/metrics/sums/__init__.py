"""What comes in, added up in numbers that merge. No I/O.

``span_aggregates`` counts and times spans by minute and bot, with a ``latency_sketch`` for quantiles.
``profit_and_loss`` adds up the money of orders. ``time_levels`` are the lengths of time that sums are kept for.
"""
