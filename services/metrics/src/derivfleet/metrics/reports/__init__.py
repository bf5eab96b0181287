"""Reports: ``periods`` says which time one is about; ``figures`` and ``quota_use`` make its figures without I/O.

``messages`` makes a message of figures. ``reports`` reads the store for all that, and ``finalizer`` decides when a
report is final. ``order_trace`` puts the spans of one order in order.
"""
