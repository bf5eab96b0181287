"""What an order is and what may happen to it: states, exits, operations, denials, counts. Without I/O."""
