"""How far a probe is: a bar on a terminal, a line for each step in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from rich.console import Console

    from derivfleet.common.clock import Clock

__all__ = ["ProbeProgress"]

DRAW_EVERY_S = 0.2


class ProbeProgress:
    """How far a probe is, on a terminal as a bar, in a pipe as a line for each step."""

    def __init__(self, usual_s: float, speed: float, clock: Clock, console: Console) -> None:
        """``usual_s`` is what all steps take, by the probe's own clock, which runs ``speed`` times faster."""
        self._speed = speed
        self._clock = clock
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
        )
        self._task = self._progress.add_task("", total=usual_s)
        self._before_s = 0.0
        self._step: dict[str, Any] = {"name": "begins", "usual_s": 0.0}
        self._since_s = clock.now_s()
        self._waits_until_s = 0.0

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event of the probe."""
        now_s = self._clock.now_s()
        match event["event"]:
            case "step":
                self._before_s += self._step["usual_s"]
                self._step, self._since_s, self._waits_until_s = event, now_s, 0.0
                if not self._console.is_terminal:
                    self._console.print(f"{event['what']} …", markup=False, highlight=False, soft_wrap=True)
            case "waiting":
                self._waits_until_s = now_s + event["seconds"] / self._speed
            case _:
                pass

    @property
    def done_s(self) -> float:
        """How much of the usual time is behind it."""
        passed_s = (self._clock.now_s() - self._since_s) * self._speed
        return self._before_s + min(passed_s, self._step["usual_s"])

    async def show(self) -> None:
        """Draw until cancelled."""
        with self._progress:
            while True:
                left_s = (self._waits_until_s - self._clock.now_s()) * self._speed
                waiting = f" (waiting {left_s:.0f} s)" if left_s > 1 else ""
                self._progress.update(self._task, completed=self.done_s, description=f"{self._step['name']}{waiting}")
                await self._clock.sleep(DRAW_EVERY_S)
