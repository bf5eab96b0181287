"""One Deriv account put together: its client, its orders, its market data and the bots that may use them."""
