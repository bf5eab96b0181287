"""One logged-in socket to Deriv: the login of each dialect, calls and streams around python-deriv-api, its health.

A library for every service that speaks to Deriv itself. It knows nothing of limits shared with others, nor of orders.
"""
