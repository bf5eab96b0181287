"""Measures on a demo account what Deriv does not publish about its limits. Buys nothing. core/probe decides, this asks.

Run while nothing else uses the account: ``python -m derivfleet.gateway.probe``, or ``derivfleet probe``.
"""
