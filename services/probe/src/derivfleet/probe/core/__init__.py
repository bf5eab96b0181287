"""What can be found out about an account's limits from outside: which calls to make when, and what answers prove.

Each experiment is a generator: it says what to do next, is told what came of it, and knows neither sockets nor clocks.
Conclusions are drawn apart from it, from all that was seen, so that an experiment that was broken off has some too.
"""
