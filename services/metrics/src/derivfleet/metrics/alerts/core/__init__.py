"""When an alert fires, when it clears, and what is still to be told. No I/O: time and values come in as arguments."""
