"""What every service shares: the one clock, settings, logs, traces, gRPC and the fleet file."""
