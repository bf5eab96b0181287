"""The kinds of contract that are traded, one file each; all that is known of a kind stands in its file.

``category`` says what is known of any kind, ``binary`` holds the rules of those that pay all or nothing after a
duration, and ``registry`` finds the category of a contract type. A new kind is a file here and its
line in the registry.
"""
