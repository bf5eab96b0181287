"""The queue of logins: the shared backoff, the cap of sockets."""

from __future__ import annotations

from derivfleet.gateway.core.connections.login_queue import LINGER_NS, LoginQueue

S = 10**9


def test_a_failure_makes_every_slot_wait_and_each_further_one_longer() -> None:
    queue = LoginQueue("demo", 4)
    assert queue.wait_ns(0) == (0, "")
    waits: list[int] = []
    for _ in range(8):
        queue.failed(0)
        wait_ns, reason = queue.wait_ns(0)
        assert reason == ""
        assert queue.wait_ns(wait_ns)[0] == 0
        waits.append(wait_ns)
    assert waits[0] <= S
    assert waits[:5] == sorted(waits[:5])
    assert max(waits) <= 30 * S
    assert queue.failures == 8
    queue.logged_in()
    queue.failed(0)
    assert queue.wait_ns(0)[0] == waits[0]


def test_sockets_given_up_in_silence_count_until_deriv_has_noticed() -> None:
    queue = LoginQueue("demo", 4)
    for number in range(2):
        queue.logged_in()
        queue.logged_in()
        queue.ended(number * S, may_linger=True)
    assert queue.wait_ns(2 * S) == (LINGER_NS - 2 * S, "4 sockets of this user may still be open at Deriv")
    assert queue.wait_ns(LINGER_NS) == (0, "")


def test_sockets_that_ended_with_a_word_make_room_at_once() -> None:
    queue = LoginQueue("demo", 2)
    for _ in range(10):
        queue.logged_in()
        queue.logged_in()
        assert queue.wait_ns(0)[0] > 0
        queue.ended(0, may_linger=False)
        assert queue.wait_ns(0)[0] == 0
        queue.ended(0, may_linger=False)


def test_with_no_socket_left_those_that_linger_keep_nobody_out() -> None:
    queue = LoginQueue("demo", 2)
    for _ in range(2):
        queue.logged_in()
        queue.ended(0, may_linger=True)
    assert queue.wait_ns(0) == (0, "")
