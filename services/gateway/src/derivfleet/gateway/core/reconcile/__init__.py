"""What the account's records prove about orders whose answer was lost. Without I/O."""
