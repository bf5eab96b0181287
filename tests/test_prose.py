"""What counts as a sentence of the documentation, and which are too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.prose import LONGEST, MEAN, complaints, main, sentences

if TYPE_CHECKING:
    from pathlib import Path


def texts(markdown: str) -> list[str]:
    return [sentence.text for sentence in sentences(markdown) if not sentence.title]


def counts(markdown: str) -> list[int]:
    return [sentence.words for sentence in sentences(markdown) if not sentence.title]


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("One fact. Another one!\nA third?", ["One fact.", "Another one!", "A third?"]),
        ("It waits;\nit does: it ends.", ["It waits; it does: it ends."]),
        (
            "A list:\n- one item\n  in two lines\n- another\n\n1. a third",
            ["A list:", "one item in two lines", "another", "a third"],
        ),
        ("One.\n\nTwo (in brackets.) Three", ["One.", "Two (in brackets.)", "Three"]),
        ("At 0.4 s of 1.0 it ends…and goes on.", ["At 0.4 s of 1.0 it ends…and goes on."]),
        ("> quoted words\n> and more", ["quoted words", "and more"]),
    ],
)
def test_a_sentence_ends_at_its_stop_or_with_its_paragraph(markdown: str, expected: list[str]) -> None:
    assert texts(markdown) == expected


@pytest.mark.parametrize(
    "markdown",
    [
        "Before.\n\n```sh\nno prose. none\n```\n\nAfter.",
        "Before.\n\n| a | table |\n|---|---|\n| of | many words. |\n\nAfter.",
        "Before.\n<!-- a comment. -->\n![A picture. Of much](pictures/one.png)\n\nAfter.",
        "# A title. Of many words\n\nBefore.\n\n## Another\n\n**A label.** After.",
    ],
)
def test_blocks_tables_comments_pictures_and_titles_are_not_counted(markdown: str) -> None:
    assert [text for text in texts(markdown) if text not in ("Before.", "After.")] == []
    assert texts(markdown)[-1] == "After."


def test_the_words_of_links_and_of_inline_code_count_and_their_targets_and_points_do_not() -> None:
    assert counts("See [the page](docs/a page.md#with words) now.") == [4]
    assert counts("Run `make sim. SEED=7` or ``a ` b`` – now.") == [8]


def test_a_sentence_is_told_by_the_line_where_it_begins() -> None:
    page = "# Title\n\nShort. This one\nis long.\n\n```\ncode\n```\n- An item.\n  And more.\n"
    assert [(found.line, found.text) for found in sentences(page)] == [
        (1, "Title"),
        (3, "Short."),
        (3, "This one is long."),
        (9, "An item."),
        (10, "And more."),
    ]


def test_the_limits_hold_to_the_word() -> None:
    short = "One two three."
    assert complaints("a.md", f"{'word ' * LONGEST}\n\n{short}\n\n{short}\n\n{short}") == []
    (told,) = complaints("a.md", f"{short}\n\n{'word ' * (LONGEST + 1)}\n\n{short}\n\n{short}\n\n{short}")
    assert told.startswith("a.md:3: 31 words, at most 30: word word")
    assert complaints("a.md", "word " * MEAN) == []
    assert complaints("a.md", "word " * (MEAN + 1)) == ["a.md: 16.0 words a sentence, at most 15"]
    assert complaints("a.md", "") == []


def test_a_long_title_is_told_too_and_short_ones_do_not_hide_long_sentences() -> None:
    assert len(complaints("a.md", f"## {'word ' * (LONGEST + 1)}")) == 1
    assert len(complaints("a.md", f"**{'word ' * LONGEST}.** Text.")) == 0
    assert complaints("a.md", "# One\n\n**Two.** " + "word " * (MEAN + 1)) == [
        "a.md: 16.0 words a sentence, at most 15"
    ]


def test_all_pages_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    names = ("README.md", "CONTRIBUTING.md", "docs/orders.md", "docs/quota.md")
    for name in names:
        (tmp_path / name).write_text("Short.\n")
    assert main(tmp_path) == 0
    for name in names:
        (tmp_path / name).write_text("\n" + "word " * (LONGEST + 1))
    assert main(tmp_path) == 1
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()[::2]] == list(names)
