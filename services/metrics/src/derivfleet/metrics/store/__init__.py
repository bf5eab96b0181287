"""One SQLite file: ``store`` owns its two connections and threads, ``schema`` its tables and migrations.

Each other file holds the statements of one part. Raw spans are in ``span_batches``, what they add up to in
``span_rollups``, what they say of orders in ``traced_orders``. Orders are in ``order_table``, what they add up to in
``order_rollups``. Final reports are in ``report_table``, status samples in ``status_table``; ``feed_mark`` is how far
the order feed was read.
"""
