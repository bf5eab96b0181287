"""Starts a program that the kernel kills when its supervisor dies, however that dies.

Run as a script: ``python -I -S parent_death.py <supervisor's process id> <program> <arguments…>``.

A supervisor that is killed with -9 can tidy up nothing, and a fleet that goes on trading unseen is the worst that can
be left behind. So the promise is the kernel's: on Linux a process can ask for a signal at its parent's death, and the
request survives ``exec``. That needs nothing of the program, holds even if it hangs, and costs no extra process. The
signal is SIGKILL, for nobody is left to insist after a milder one; the services are built to survive it. Where the
kernel has no such signal the program starts without it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(supervisor: int, program: list[str]) -> None:
    """Ask for the signal and become the program."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # It may have died before the request was heard.
        if os.getppid() != supervisor:
            sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - starting a program is what this is for


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
