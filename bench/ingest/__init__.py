"""How many spans a second the metrics service takes on one core, durable and deduplicated, beside a Collector.

The spans are those of a real run (``record``), sent again with new ids, as many bots, and spread over as much time as
is asked for (``replay``). Service and Collector run on one core, the sender on the other.
"""
