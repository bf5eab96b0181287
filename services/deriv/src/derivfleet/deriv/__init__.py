"""What Deriv is, without I/O.

``vocabulary`` and ``requests`` hold the words, ``dialects`` how each of the two wire languages writes and reads them,
``answers`` what comes back, ``errors`` what a refusal means; ``limits`` is the table of call limits, ``symbols``,
``ticks`` and ``candles`` are the synthetic markets, ``contracts``, ``pricing`` and ``shortcodes`` the maths of what is
traded on them. Nothing here opens a socket, reads a clock or rolls dice.
"""
