"""What comes in, checked and as plain values: orders of the feed, spans of OTLP, the gateway's status. No I/O."""
