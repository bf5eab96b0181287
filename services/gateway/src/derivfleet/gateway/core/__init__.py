"""What the gateway decides: quota, orders, reconciliation. Pure: time comes in, decisions go out."""
