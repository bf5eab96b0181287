"""What bots ask of the market, and many of them at once: streams they watch, histories and contracts they read.

Deriv is asked once for all who ask the same.
"""
