"""The derivfleet command: run a fleet, look at it, ask for reports and orders, find out what is wrong."""
