from __future__ import annotations

from hardware.ros.joining import StampJoin


def test_a_set_is_complete_once_each_kind_has_come() -> None:
    join: StampJoin[str] = StampJoin(("state", "front"), kept=8)
    assert join.put("state", 1, "s1") is None
    assert join.put("state", 2, "s2") is None
    assert join.put("front", 2, "f2") == {"state": "s2", "front": "f2"}
    assert join.put("front", 1, "f1") is None, "the older set is forgotten"


def test_one_kind_alone_is_complete_at_once() -> None:
    join: StampJoin[str] = StampJoin(("state",), kept=8)
    assert [join.put("state", stamp, "s") for stamp in (3, 3)] == [{"state": "s"}] * 2


def test_stamps_far_ahead_do_not_stay_for_good() -> None:
    join: StampJoin[int] = StampJoin("ab", kept=3)
    for ahead in range(10):
        assert join.put("a", 10**9 + ahead, ahead) is None
    assert join.put("a", 1, 1) is None
    assert join.put("b", 1, 2) == {"a": 1, "b": 2}
    assert join.put("b", 10**9, 0) is None, "the first of those ahead is gone"
    assert join.put("b", 10**9 + 9, 9) == {"a": 9, "b": 9}, "the last is not"
