"""What the gateway costs: real processes on loopback, beside a bare gRPC echo and a direct client in the same run.

``python -m bench.gateway`` starts them, measures, prints a table and writes ``build/bench/gateway.json``.
"""
