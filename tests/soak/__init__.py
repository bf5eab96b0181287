"""``make soak``: a fleet of real processes trades for hours or days while its memory and all that it holds are sampled.

``process_samples`` takes the samples, ``trend`` tells growth from noise. ``downtime`` reads from a bot's log when it
could not trade, ``chart`` draws. ``soak_run`` is one whole run.
"""
