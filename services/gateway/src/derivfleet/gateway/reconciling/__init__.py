"""Compares what the registry believes with the account's own records: lost orders, lost exits, overdue contracts."""
