"""gRPC as every service uses it: a server that knows its callers, a channel with a token, errors with details."""
