"""Grafana dashboards of a fleet, as typed Python: ``make dashboards`` writes their JSON into the chart.

Span names and attributes come from ``derivfleet.common.spans``, so a query on a span that nobody writes cannot be
built. ``series`` holds the PromQL, ``traceql`` the TraceQL, ``panels`` the looks, ``controls`` the variables and links
that the dashboards share; ``overview`` and ``trade`` are the dashboards themselves.
"""
