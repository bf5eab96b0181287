"""The sockets to Deriv: the way in of each dialect, one connection around python-deriv-api, the pool of an account."""
