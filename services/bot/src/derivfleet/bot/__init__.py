"""A stateless trading bot: ticks in, decisions out, every order followed to its settlement."""
