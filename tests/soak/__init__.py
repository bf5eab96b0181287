"""``make soak``: a fleet of real processes trades for hours or days while its memory and all that it holds are watched.

``watch`` samples the processes, ``trend`` tells growth from noise, ``uptime`` reads from a bot's log when it could not
trade, ``picture`` draws, ``stay`` is one whole run.
"""
