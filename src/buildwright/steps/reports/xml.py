"""Reading XML that may be anybody's: as a stream, without entities and without anything from outside.

A document that declares entities is refused, so none is ever expanded; expat itself fetches nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

from buildwright.steps.reports.case import Malformed

PIECE = 64 * 1024
DEEPEST = 100

START, END = "start", "end"


class Element:
    """An element that has begun; ``text`` is whole at its end."""

    __slots__ = ("attributes", "name", "parts")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.parts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")


def events(data: bytes) -> Iterator[tuple[str, Element]]:
    """The starts and ends of elements, by their names without a namespace. Raises Malformed."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    found: list[tuple[str, Element]] = []
    opened: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(opened) == DEEPEST:
            raise Malformed(f"more than {DEEPEST} elements within each other", parser.CurrentLineNumber)
        opened.append(Element(name.rpartition(":")[2], attributes))
        found.append((START, opened[-1]))

    def end(_name: str) -> None:
        found.append((END, opened.pop()))

    def text(content: str) -> None:
        if opened:
            opened[-1].parts.append(content)

    def entity(*_: object) -> None:
        raise Malformed("it declares XML entities, which are not read", parser.CurrentLineNumber)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = entity
    for at in range(0, len(data) + 1, PIECE):
        problem: Malformed | None = None
        try:
            parser.Parse(data[at : at + PIECE], at + PIECE > len(data))
        except Malformed as refused:
            problem = refused
        except expat.ExpatError as error:
            problem = Malformed(f"no XML from here on: {expat.ErrorString(error.code)}", error.lineno)
        except (LookupError, ValueError) as error:  # an encoding that isn't known, or that can't be this one
            problem = Malformed(f"no XML that can be read: {error}")
        yield from found
        found.clear()
        if problem is not None:
            raise problem
