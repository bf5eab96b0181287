"""Traces and the order feed in; reports, a web page and a report service out.

``otlp``, ``orders`` and ``status`` are what comes in, as plain values; ``ingest`` and ``feed`` bring it; ``store``
keeps it (``schema``, ``queries``, ``retention``); ``aggregate``, ``quota`` and ``curve`` sum it up without I/O;
``reports`` and ``web`` hand it out; ``service`` puts it together.
"""
