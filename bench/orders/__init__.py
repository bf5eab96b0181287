"""What the durable journal costs: on the way of a purchase, and at a start.

Purchases go through three gateways in turn, alike but for their journals: SQLite, PostgreSQL, and one that forgets
everything (``null_journal``).
"""
