"""Traces and the order feed in; reports, a web page and a report service out.

``otlp``, ``orders`` and ``status`` are what comes in, as plain values; ``ingest`` and ``feed`` bring it; ``store``
keeps it (``schema``, ``queries``, ``parcels`` for raw spans, ``retention``). ``cells`` and ``sketch`` are what spans
add up to, ``takings`` what orders add up to; ``rollups`` and ``order_sums`` keep both on disk. ``aggregate``,
``quota`` and ``curve`` make figures of them without I/O; ``periods`` says which time they are about. ``reports``,
``messages`` and ``web`` hand them out, ``publisher`` makes them final; ``service`` puts it together.
"""
