"""All that a probe has seen, and what it comes to: whole or broken off, conclusions are drawn the same way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from derivfleet.probe.core.bounds import Experiment
from derivfleet.probe.core.findings import Finding, unknown
from derivfleet.probe.core.offset import TimeSample, conclude_offset
from derivfleet.probe.core.theories import ANY_OFFSET, Sighting, Span
from derivfleet.probe.core.windows import WindowFindings, conclude, refused_in_hour

if TYPE_CHECKING:
    from derivfleet.deriv.limits import Bucket, LimitsTable
    from derivfleet.deriv.vocabulary import Call

__all__ = ["Notebook"]

HOUR_S = 3600
BROKEN_OFF = "broken off"


@dataclass(slots=True)
class Notebook:
    """What was chosen, what was seen, and what went wrong. ``call`` is the one whose windows are looked at."""

    table: LimitsTable
    """The published one, or what a legacy server told."""
    call: Call
    chosen: tuple[Experiment, ...]
    samples: list[TimeSample] = field(default_factory=list[TimeSample])
    seen: list[Sighting] = field(default_factory=list[Sighting])
    hour: list[Sighting] = field(default_factory=list[Sighting])
    streams: Finding[int] = field(default_factory=lambda: unknown(BROKEN_OFF))
    connections: Finding[int] = field(default_factory=lambda: unknown(BROKEN_OFF))
    surprises: int = 0
    """Calls refused for rate where the published limits had room."""
    troubles: dict[Experiment, str] = field(default_factory=dict[Experiment, str])
    """Why an experiment was broken off."""

    @property
    def bucket(self) -> Bucket:
        """Whose windows are looked at."""
        bucket = self.table.bucket_of(self.call)
        if bucket is None:
            raise ValueError(f"{self.call} is not counted")
        return bucket

    @property
    def clock(self) -> Finding[Span]:
        """What Deriv's clock is ahead of ours."""
        return conclude_offset(self.samples)

    @property
    def offset(self) -> Span:
        """The same, as wide as it must be if it is not known."""
        found = self.clock.values
        return found[0] if found else ANY_OFFSET

    @property
    def window(self) -> WindowFindings:
        """What is known of the bucket's windows."""
        found = conclude(self.seen, self.offset)
        if not self.hour or found.kind.value is None or not found.kind.value.is_fixed:
            return found
        in_hour = refused_in_hour(len(self.seen), self.hour, self.bucket.windows[HOUR_S])
        return replace(found, counts_refused=in_hour)

    @property
    def is_complete(self) -> bool:
        """Whether every experiment that was chosen has found something out."""
        window = self.window
        found: dict[Experiment, tuple[Finding[object], ...]] = {
            Experiment.CLOCK: (self.clock,),
            Experiment.STREAMS: (self.streams,),
            Experiment.SOCKETS: (self.connections,),
            Experiment.WINDOW: (window.kind, window.limit, window.counts_refused, window.is_shared),
            Experiment.HOUR: (window.counts_refused,),
        }
        return not self.troubles and all(
            finding.values for experiment in self.chosen for finding in found.get(experiment, ())
        )

    def distrust(self) -> None:
        """Something else used the account: whoever called, its calls were counted with ours."""
        self.seen.clear()
        self.hour.clear()
