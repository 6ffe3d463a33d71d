"""Time that jumps: nobody is overtaken, nobody sleeps."""

import threading

import pytest

from emulator.twilio.clock import RealClock, VirtualClock


def run(clock, *actors):
    threads = [clock.spawn(actor, "actor") for actor in actors]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_waits_end_in_the_order_of_their_deadlines():
    clock, seen, gate = VirtualClock(), [], threading.Barrier(3)

    def sleeper(seconds):
        def act():
            wake = clock.wake()
            gate.wait(5)
            for _ in range(3):
                clock.wait(seconds, wake)
                seen.append((round(clock.now(), 3), seconds))

        return act

    run(clock, sleeper(1.0), sleeper(2.5), sleeper(4.0))
    assert seen == sorted(seen)
    assert [at for at, seconds in seen if seconds == 2.5] == [2.5, 5.0, 7.5]


def test_who_is_woken_runs_before_time_goes_on():
    clock, seen, gate = VirtualClock(), [], threading.Barrier(2)
    wake = clock.wake()

    def waiter():
        gate.wait(5)
        seen.append(("woken", clock.wait(100, wake), clock.now()))

    def waker():
        gate.wait(5)
        clock.wait(3, clock.wake())
        wake.set()
        clock.wait(50, clock.wake())
        seen.append(("later", clock.now()))

    run(clock, waiter, waker)
    assert seen == [("woken", True, 3), ("later", 53)]


def test_a_wake_before_the_wait_is_not_lost():
    for clock in (VirtualClock(), RealClock()):
        wake = clock.wake()
        wake.set()
        assert clock.wait(1000, wake)
        assert not clock.wait(0, wake)


def test_a_thread_from_outside_may_wait_too():
    clock = VirtualClock()
    assert not clock.wait(1000, clock.wake())
    assert clock.now() == 1000


def test_a_wake_of_another_clock_is_refused():
    with pytest.raises(TypeError):
        RealClock().wait(1, VirtualClock().wake())
