"""Orders under every fault, on virtual time: the real gateway and the simulator's core in one process, one seed a run.

``virtual`` is time, ``plan`` what a seed means, ``wire`` the network and what it does wrong, ``life`` one life of a
gateway from its start to its crash, ``bots`` those who ask, ``world`` joins them, ``judge`` compares with the ledger,
``shrink`` finds the shortest story of a failure, ``mutants`` are faults put into the gateway to see them caught.
"""
