from __future__ import annotations

import itertools
import socket

import numpy as np
import pytest

from hardware.sim.channel.faults import FaultError, Faults
from hardware.sim.fci.link import FaultyLink, FaultySocket


def states(link: FaultyLink, count: int) -> list[list[int]]:
    """Which states arrive in each of ``count`` ticks."""
    return [[int(data) for data in link.states(str(tick).encode())] for tick in range(count)]


def test_a_perfect_network_delivers_everything_at_once() -> None:
    link = FaultyLink(Faults())
    assert states(link, 50) == [[tick] for tick in range(50)]
    assert all(link.command() for _ in range(50))


@pytest.mark.parametrize("burst", [1, 5])
@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
def test_as_much_is_lost_as_asked_for_in_both_directions(loss: float, burst: int) -> None:
    count = 40_000
    link = FaultyLink(Faults(loss=loss, burst=burst, seed=1))
    # Bursts vary the share lost by sqrt(burst) more than single losses do; four standard deviations.
    tolerance = 4.0 * np.sqrt(loss * (1.0 - loss) * burst / count)
    commands = [link.command() for _ in range(count)]
    assert 1.0 - np.mean(commands) == pytest.approx(loss, abs=tolerance)
    arrived = [bool(tick) for tick in states(link, count)]
    assert 1.0 - np.mean(arrived) == pytest.approx(loss, abs=tolerance)
    runs = [len(list(run)) for there, run in itertools.groupby(arrived) if not there]
    assert min(runs[1:-1]) == burst


def test_everything_can_be_lost() -> None:
    link = FaultyLink(Faults(loss=1.0))
    assert states(link, 100) == [[]] * 100


def test_states_come_late_and_with_jitter_out_of_order() -> None:
    assert states(FaultyLink(Faults(delay=3)), 6) == [[], [], [], [0], [1], [2]]
    ticks = states(FaultyLink(Faults(delay=2, jitter=4, seed=5)), 1000)
    arrival = {state: tick for tick, came in enumerate(ticks) for state in came}
    late = [arrival[state] - state for state in range(990)]
    assert (min(late), max(late)) == (2, 6)
    order = [state for came in ticks for state in came]
    assert order != sorted(order)


def test_the_same_seed_gives_the_same_faults() -> None:
    faults = Faults(loss=0.3, burst=2, delay=1, jitter=3, seed=9)
    assert states(FaultyLink(faults), 500) == states(FaultyLink(faults), 500)
    other = Faults(loss=0.3, burst=2, delay=1, jitter=3, seed=10)
    assert states(FaultyLink(faults), 500) != states(FaultyLink(other), 500)


@pytest.mark.parametrize("bad", [{"loss": 1.1}, {"loss": -0.1}, {"burst": 0}, {"delay": -1}, {"jitter": -1}])
def test_nonsense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(FaultError, match=str(next(iter(bad.values())))):
        Faults(**bad)


def test_the_socket_is_bound_to_its_address_and_loses_what_the_link_loses() -> None:
    wire = FaultySocket("127.66.1.2", FaultyLink(Faults()))
    driver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        driver.bind(("127.0.0.1", 0))
        driver.settimeout(5.0)
        wire.sendto(b"state", driver.getsockname())
        data, source = driver.recvfrom(100)
        assert (data, source[0], wire.sent) == (b"state", "127.66.1.2", True)
        driver.sendto(b"command", source)
        assert wire.recv(100) == b"command"
        wire.link = FaultyLink(Faults(loss=1.0))
        driver.sendto(b"command", source)
        with pytest.raises(BlockingIOError):
            wire.recv(100)
        wire.sendto(b"state", driver.getsockname())
        assert not wire.sent
    finally:
        wire.close()
        driver.close()
