"""The durable log of orders: every transition is written before anything is done about it."""
