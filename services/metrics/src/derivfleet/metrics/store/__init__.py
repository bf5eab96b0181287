"""One SQLite file: ``store`` owns its two connections and threads, ``schema`` its tables and migrations.

Each other file holds the statements of one part: raw spans in ``span_batches``, what they add up to in
``span_rollups``, orders in ``order_table``, what they add up to in ``order_rollups``, and so on.
"""
