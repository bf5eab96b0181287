"""Alerts: the fleet file's rules are evaluated every few seconds; people are told what turns wrong, and right again.

``core`` decides without I/O; ``measurements`` says how things stand; ``alert_table`` keeps it. What was decided and
what is to be told go into the store together, so a restart neither forgets nor repeats. ``evaluator`` is the loop over
the rules; ``notifier`` delivers each ``notice_text`` over the ``channels``: a webhook in Slack's format, and Telegram.
"""
