"""What every service uses: clock, settings, logs, traces, gRPC (``rpc``), and the fleet file.

``service`` starts and ends a process; ``settings`` and ``validation`` read what it is told. ``fleet`` is the fleet
file, with ``alert_rules`` and ``strategy_parameters`` beside it. ``logs`` and ``redaction`` are what it says and must
not say; ``telemetry`` makes the spans that ``spans`` names and ``otlp`` sends, ``prometheus`` what is scraped.
``order_state``, ``backoff`` and ``errors`` are words and rules that all share.
"""
