"""Benchmarks. Each compares in one run, prints a table and writes ``build/bench/<name>.json``."""
