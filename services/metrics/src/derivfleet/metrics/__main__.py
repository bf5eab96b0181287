"""``python -m derivfleet.metrics``."""

from __future__ import annotations

import sys

from derivfleet.common.service import run_service
from derivfleet.metrics.service import serve
from derivfleet.metrics.settings import MetricsSettings

if __name__ == "__main__":
    sys.exit(run_service("metrics", MetricsSettings, serve))
