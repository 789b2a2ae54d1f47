"""Answers about snippets, and that none is lost that was given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.rewards.answers import Answer, AnswersError, Span, append, read

ONE, OTHER = Span("demos", 3, 10, 8), Span("online", 0, 0, 8)
PAIR, SCORE = Answer(ONE, 2, "person", OTHER), Answer(OTHER, 4, "a:b")
WRITER = """
import sys
from pathlib import Path
from robot_rl.rewards.answers import Answer, Span, append

for number in range(100_000):
    append(Path(sys.argv[1]), Answer(Span("demos", number, 0, 5), 3, "person"))
    print(number, flush=True)
"""


def test_answers_come_back_as_they_were_given(tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    assert read(path) == []
    append(path, PAIR)
    append(path, SCORE)
    assert read(path) == [PAIR, SCORE]
    assert path.read_text().splitlines()[1] == (
        '{"first": {"store": "online", "episode": 0, "step": 0, "steps": 8}, "answer": 4, "by": "a:b"}'
    )
    assert str(ONE) == "demos/000003, steps 10 to 17"


@pytest.mark.parametrize(
    ("answer", "second", "words"),
    [
        (3, OTHER, "3 is no answer to a pair; it is one of 1, 2, 0"),
        (0, None, "0 is no answer to a score"),
        (True, None, "True"),
    ],
)
def test_what_is_no_answer_is_refused(answer: int, second: Span | None, words: str) -> None:
    with pytest.raises(AnswersError, match=words):
        Answer(ONE, answer, "person", second)


def test_a_line_without_its_end_is_replaced_by_the_next_answer(tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    append(path, PAIR)
    with path.open("ab") as file:
        file.write(b'{"first": {"store": "de')
    assert read(path) == [PAIR]
    append(path, SCORE)
    assert read(path) == [PAIR, SCORE]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    append(path, PAIR)
    for damage in (
        "{}",
        "nonsense",
        '{"first": {"store": "a", "episode": 0, "step": 0, "steps": 1}, "answer": 9, "by": ""}',
    ):
        path.write_text(f"{path.read_text().splitlines()[0]}\n{damage}\n")
        with pytest.raises(AnswersError, match=r"preferences\.jsonl, line 2 is damaged"):
            read(path)


def test_no_answer_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(20)]
        writer.kill()
        told += [int(line) for line in writer.stdout.read().split()]
    kept = read(path)
    assert [answer.first.episode for answer in kept] == list(range(len(kept)))
    assert len(kept) >= told[-1] + 1
