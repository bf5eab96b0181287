"""Measures on a demo account what Deriv does not publish about its limits. Buys nothing. core/ decides, this asks.

Run while nothing else uses the account: ``python -m derivfleet.probe``, or ``derivfleet probe``.
"""
