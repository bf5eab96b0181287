"""``make chaos``: a fleet of real processes is killed, paused and cut off while it trades; then its ledger is checked.

``processes`` runs the processes, ``proxy`` is the line to Deriv that is cut. ``fault_injection`` decides what goes
wrong when. ``callers`` are bots whose every stake differs; ``operator_client`` follows the order feed. ``chaos_run`` is
one whole run, which ``run_setup`` makes ready. ``ledger_check`` compares in the end.
"""
