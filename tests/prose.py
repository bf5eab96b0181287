"""How long the sentences of the documentation are. ``make lint`` runs it: ``python -m tests.prose``.

Counted are README.md, CONTRIBUTING.md and docs/*.md without code blocks, comments, pictures, tables and link targets.
A sentence ends at ``.``, ``!`` or ``?`` before a space, and where its paragraph or list item ends.
A semicolon, a dash or a colon within a line of thought ends nothing.
Titles (a heading, or bold words with their full stop before the text) have the limit, but do not count in the mean.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST", "MEAN", "Sentence", "complaints", "main", "pages", "sentences"]

MEAN = 15
"""Words a sentence, over each file."""
LONGEST = 30
"""Words of one sentence."""

_FENCE = re.compile(r"\s*(```|~~~)")
_OPENING = re.compile(r"\s*(?:[-*+] |\d+[.)] |(?P<heading>#{1,6} )|> )")
_TITLE = re.compile(r"\*\*[^*]+[.:]\*\*|\*\*[^*]+\*\*(?=[.:] )")
_SENTENCE = re.compile(r"\S.*?(?:[.!?][)\]*_\"”’]*(?=\s)|$)", re.DOTALL)
_WORD = re.compile(r"\S*\w\S*")


@dataclass(frozen=True, slots=True)
class Sentence:
    line: int
    """Where it begins, from 1."""
    text: str
    title: bool = False

    @property
    def words(self) -> int:
        return len(_WORD.findall(self.text))


def pages(root: Path) -> list[Path]:
    """Every page whose sentences are counted."""
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]


def sentences(markdown: str) -> Iterator[Sentence]:
    """Every sentence and title of a page, in order."""
    for line, text, heading in _blocks(markdown):
        title = re.match(r".+", text, re.DOTALL) if heading else _TITLE.match(text)
        end = title.end() if title else 0
        if title:
            yield Sentence(line, title[0], title=True)
        for found in _SENTENCE.finditer(text, end):
            sentence = Sentence(line + text.count("\n", 0, found.start()), " ".join(found[0].split()))
            if sentence.words:
                yield sentence


def complaints(name: str, markdown: str) -> list[str]:
    """What is too long in a page, a line each."""
    found = list(sentences(markdown))
    told = [
        f"{name}:{sentence.line}: {sentence.words} words, at most {LONGEST}: {sentence.text}"
        for sentence in found
        if sentence.words > LONGEST
    ]
    counted = [sentence.words for sentence in found if not sentence.title]
    if sum(counted) > MEAN * len(counted):
        told.append(f"{name}: {sum(counted) / len(counted):.1f} words a sentence, at most {MEAN}")
    return told


def _blocks(markdown: str) -> Iterator[tuple[int, str, bool]]:
    """Paragraphs, list items and headings: first line, text with its line breaks, whether it is a heading."""
    start, lines = 0, list[str]()
    for number, line in enumerate([*_stripped(markdown).split("\n"), ""], 1):
        opening = _OPENING.match(line)
        if lines and (opening or not line.strip()):
            yield start, "\n".join(lines), False
            lines = []
        if opening and opening["heading"]:
            yield number, line[opening.end() :], True
        elif line.strip():
            start = start if lines else number
            lines.append(line[opening.end() :] if opening else line)


def _stripped(markdown: str) -> str:
    """The prose alone, each line where it was."""
    text = re.sub(r"<!--.*?-->", _line_breaks, markdown, flags=re.DOTALL)
    kept, fenced = list[str](), False
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        kept.append("" if fenced or fence or line.lstrip().startswith("|") else line)
        fenced = fenced != bool(fence)
    text = "\n".join(kept)
    text = re.sub(r"(?<!`)(`+)(?!`)((?:(?!\n\s*\n).)+?)(?<!`)\1(?!`)", _quoted, text, flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", _line_breaks, text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def _line_breaks(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def _quoted(found: re.Match[str]) -> str:
    """Inline code: its words count, its points end nothing."""
    return re.sub(r"[^\w\s]", "·", found[2])


def main(root: Path) -> int:
    told = [
        line
        for page in pages(root)
        for line in complaints(str(page.relative_to(root)), page.read_text(encoding="utf-8"))
    ]
    sys.stderr.writelines(f"{line}\n" for line in told)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
