"""The gateway's gRPC services: thin, every decision lies behind them."""
