"""What the gateway decides: limits, shares, turns, orders, reconciliation. Pure: time comes in, decisions go out."""
