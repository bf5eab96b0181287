"""What Deriv is, without I/O.

``vocabulary`` and ``requests`` hold the words, ``dialects`` how each of the two wire languages writes and reads them,
``answers`` what comes back, ``errors`` what a refusal means; ``limits`` is the table of call limits, ``symbols``,
``ticks`` and ``candles`` are the synthetic markets. ``categories`` holds all that is known of each kind of contract;
``contracts``, ``offers`` and ``shortcodes`` ask it what may be bought, what is listed, what is recorded. Nothing here
opens a socket, reads a clock or rolls dice.
"""
