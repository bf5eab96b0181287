"""``make chaos``: a fleet of real processes is killed, paused and cut off while it trades; the ledger judges.

``crew`` keeps the processes, ``proxy`` is the line that is cut, ``callers`` are bots whose every purchase can be told
from every other one, ``storm`` decides what goes wrong when, ``journey`` is one whole run, ``judge`` compares.
"""
