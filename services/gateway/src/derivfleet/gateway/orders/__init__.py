"""The orders of an account: the registry that moves them, the operations that carry purchases and exits out once, the
checks before them, and the settlements that end them.
"""
