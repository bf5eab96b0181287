from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.records.gateway_status import samples_of
from derivfleet.metrics.web.limit_usage import LimitUsage, window_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.metrics.store.store import Store
    from derivfleet.v1.control_pb2 import GetStatusResponse

    MakeStatus = Callable[..., GetStatusResponse]

START_S = 1_795_161_600
SAMPLES = st.lists(st.tuples(st.integers(1, 3_000), st.floats(0, 1)), min_size=1, max_size=80)


@given(SAMPLES)
@settings(deadline=None)
def test_no_peak_is_lost_however_long_it_runs(steps: list[tuple[int, float]]) -> None:
    usage = LimitUsage(10**9)
    now_s = START_S
    for step_s, share in steps:
        now_s += step_s
        usage.add(now_s * NS_PER_S, {"trade": share, "unused": 0.0})
    points = usage.points(now_s)
    assert "unused" not in points
    most = max(share for _, share in steps)
    assert max((share for _, share in points.get("trade", [])), default=0.0) == round(most, 4)
    times_s = [time_s for time_s, _ in points.get("trade", [])]
    assert len(times_s) <= 121
    assert times_s == sorted(times_s)
    assert all(START_S < time_s <= now_s for time_s in times_s)


def test_what_is_out_of_reach_is_let_go() -> None:
    usage = LimitUsage(60)
    usage.add(START_S * NS_PER_S, {"trade": 0.9})
    usage.add((START_S + 50) * NS_PER_S, {"trade": 0.1})
    usage.drop_before(START_S + 100)
    assert usage.points(START_S + 100) == {"trade": [[START_S + 55, 0.1]]}


async def test_the_fullest_of_a_buckets_windows_counts(store: Store, make_status: MakeStatus) -> None:
    await store.keep_status(samples_of(make_status(START_S)))
    ((time_ns, shares),) = await store.read(lambda connection: window_samples(connection, "demo", 0, 10))
    assert time_ns == START_S * NS_PER_S
    assert shares == {"trade": 120 / 360}
    assert await store.read(lambda connection: window_samples(connection, "demo", time_ns, 10)) == []
