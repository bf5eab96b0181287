"""A stateless trading bot: ticks in, decisions out, every order followed to its settlement.

``core`` decides without I/O, with a strategy of ``strategies`` and the stake of ``staking``. ``runner`` carries ticks
and news to it and its actions to the ``gateway_client``; ``trade_trace`` and ``gauges`` are what others see of that.
``fork_server`` starts many bots of one machine out of one process.
"""
