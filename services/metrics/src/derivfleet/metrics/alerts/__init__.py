"""Alerts: the fleet file's rules are looked at every few seconds; people are told what turns wrong, and right again.

``core`` decides without I/O; ``measures`` says how things stand; ``records`` keeps it (what was decided and what is to
be told go into the store together, so a restart neither forgets nor repeats); ``alarm`` is the loop over the rules;
``courier`` tells it over the ``channels``: a webhook in Slack's format, and Telegram.
"""
