"""Which replica of a bot may trade which symbols."""
