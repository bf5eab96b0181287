"""Orders under every fault, on virtual time: the real gateway and the simulator's core in one process, one seed a run.

``plan`` says what a seed means, ``world`` plays it on ``virtual_time``: the ``network`` and what it does wrong, one
``gateway_life`` after the other, the ``bots`` with their ``replicas``, a ``foreign_trader`` and a ``human_operator``.
``invariants`` and ``liveness`` are checked at every step, by what ``observed_reads`` and ``feed_followers`` have seen;
``ledger_check`` compares in the end. ``runs`` plays many seeds, ``shrink`` finds the shortest story of a failure.
``mutants`` are mistakes put into the gateway, out of the ``…_mutations``, to see them caught.
"""
