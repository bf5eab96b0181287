"""What many ask is asked of Deriv once: what may be kept of an answer, and the prices known from a stream."""
