"""Deriv as one account sees it: the pool of its sockets, its turns to call, its calls and streams."""
