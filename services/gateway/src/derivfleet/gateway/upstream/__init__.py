"""Deriv as one account sees it: the pool of its sockets, the admission of its calls, its calls and streams."""
