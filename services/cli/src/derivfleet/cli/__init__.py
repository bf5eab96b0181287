"""The derivfleet command: run a fleet, look at it, ask for reports and orders, find out what is wrong.

``commands`` puts the ``verbs`` together, each of which says what it takes. ``run`` is a fleet as local processes.
``reports``, ``checks`` and ``probe`` are what three of the verbs do, and ``screens`` is what people see of all that.
``clients`` asks the running services; ``messages`` and ``money`` read what they answer.
"""
