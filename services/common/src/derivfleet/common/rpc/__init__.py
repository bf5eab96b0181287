"""gRPC as every service uses it: a server that knows its callers, a channel with a token, errors with details.

``server`` asks ``identity_source`` who calls: ``token_file`` locally, ``token_review`` in a cluster; ``identity`` is
the answer. A client has a ``channel`` and its ``own_token``. ``status`` is an error on the wire, and
``malformed_requests`` are refused before a handler sees them.
"""
