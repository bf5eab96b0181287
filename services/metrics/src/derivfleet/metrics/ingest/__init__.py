"""How things come in: the receiver of traces, the reader of the gateway's order feed, the poll of its status."""
