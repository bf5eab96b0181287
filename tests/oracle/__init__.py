"""A virtual week of orders and spans, what becomes of it on its way, and an oracle that knows what was made.

``generator`` makes orders and spans and writes down what it made, in plain SQL tables, before anything is lost.
``delivery`` repeats and delays what is not lost on its way into a real store, with restarts. ``comparison`` compares
every report with SQL over the generator's own record.
"""
