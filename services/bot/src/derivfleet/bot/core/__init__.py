"""The bot's decisions, without I/O.

Which orders to ask for, what an answer means, when a trade has ended, how long to wait.
"""
