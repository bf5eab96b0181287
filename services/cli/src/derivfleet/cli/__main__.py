"""The ``derivfleet`` command."""

from __future__ import annotations

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    # gRPC's own chatter about connections that come and go would stand between the lines.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Loading takes most of a second. Ctrl-C in it just ends the process, without a traceback.
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from derivfleet.cli.commands import app  # noqa: PLC0415 - see above

    signal.signal(signal.SIGINT, before)
    app()


if __name__ == "__main__":
    main()
