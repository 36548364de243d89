"""Sentences that are stored, or made far from their reader, and said in the reader's language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext


@dataclass(frozen=True)
class Sentence:
    """A message in English, marked with `gettext_noop`, and what stands in its places.

    `str` says it in the active language. What no catalogue has, such as a library's error, stays as
    it is. Values are texts, numbers, sentences, and what is stored as its text.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.text:
            return ""  # to gettext it is the name of the catalogue's head
        said = gettext(self.text)
        return said % self.values if self.values else said

    def stored_values(self) -> dict[str, Any]:
        """The values as JSON."""
        return {
            name: value.to_json() if isinstance(value, Sentence) else _plain(value)
            for name, value in self.values.items()
        }

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "values": self.stored_values()}


def _plain(value: object) -> str | int | float:
    return value if isinstance(value, str | int | float) else str(value)


def from_json(stored: Mapping[str, Any] | str) -> Sentence:
    """What `to_json` gave; a text stands for itself."""
    if isinstance(stored, str):
        return Sentence(stored)
    return with_stored_values(stored["text"], stored["values"])


def with_stored_values(text: str, values: Mapping[str, Any]) -> Sentence:
    return Sentence(
        text,
        {
            name: from_json(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        },
    )


def sentence_of(error: Exception) -> Sentence:
    """What an error was raised with; anything else than a sentence as its text."""
    said = error.args[0] if error.args else ""
    return said if isinstance(said, Sentence) else Sentence(str(error))
