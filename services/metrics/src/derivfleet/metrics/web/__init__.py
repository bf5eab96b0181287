"""The web side: one live page (``page/``) and what it asks for, as JSON.

``server`` listens, ``auth`` knows the reader, ``middlewares`` guard every answer. ``snapshot_stream`` sends the page a
``snapshot`` of a ``view`` every second, with its alerts (``page_alerts``) and the running sums of ``dashboard_state``
(``profit_curve``, ``limit_usage``). ``api`` answers single questions, ``prometheus`` is scraped.
"""
