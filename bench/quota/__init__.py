"""The quota under load: a virtual day of many bots against the simulator's own counters, beside what others do.

``designs`` says what a design must offer, ``baselines`` holds the common ones, ``world`` the network, the clocks and
the counters, ``demand`` what the bots want, ``day`` plays it, ``figures`` reduces it, ``verdicts`` judges it. No
socket, no wall clock: the same seed gives the same day.
"""
