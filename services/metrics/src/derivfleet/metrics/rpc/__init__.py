"""The gRPC services for people's programs, and what their errors mean to callers. Traces have their own receiver."""
