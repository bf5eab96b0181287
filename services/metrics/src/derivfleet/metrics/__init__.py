"""Traces and the order feed in; reports, a web page, alerts and a copy out.

What comes in becomes plain values (``records``) and is added up (``sums``); ``store`` keeps both in one SQLite file.
``ingest`` brings it: the receiver of traces, the reader of the gateway's order feed, the poll of its status.
``reports`` makes figures of the sums and says when they are final. ``alerts`` watches the fleet file's rules,
``replicate`` copies the store to Supabase, ``rpc`` and ``web`` answer people. ``retention`` forgets what is old;
``service`` puts it all together. Each folder imports only those named before it.
"""
