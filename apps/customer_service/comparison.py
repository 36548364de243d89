"""What differs between two definitions, place by place, for the history of a service."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Definition = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    place: str
    """`intents.return_item.action.path`; entries of a list are called by their name."""
    before: str
    """"" when it was added."""
    after: str
    """"" when it was removed."""


def differences(before: Definition, after: Definition) -> list[Difference]:
    return list(_compare(before, after, ""))


def _compare(before: Any, after: Any, place: str) -> Iterator[Difference]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _compare_entries(before, after, place)
    elif (named := _by_name(before)) is not None and (others := _by_name(after)) is not None:
        yield from _compare_entries(named, others, place)
        if list(named) != list(others) and set(named) == set(others):
            yield Difference(place, " → ".join(named), " → ".join(others))
    elif isinstance(before, list) and isinstance(after, list) and _plain(before) and _plain(after):
        for entry in before:
            if entry not in after:
                yield Difference(place, str(entry), "")
        for entry in after:
            if entry not in before:
                yield Difference(place, "", str(entry))
        if sorted(before) == sorted(after):
            yield Difference(place, ", ".join(before), ", ".join(after))
    else:
        yield Difference(place, _text(before), _text(after))


def _compare_entries(before: Definition, after: Definition, place: str) -> Iterator[Difference]:
    for key in dict.fromkeys((*before, *after)):
        yield from _compare(before.get(key), after.get(key), f"{place}.{key}" if place else key)


def _by_name(value: Any) -> dict[str, Any] | None:
    """A list of named objects by their names."""
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return {one["name"]: one for one in value}
    return None


def _plain(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _text(value: Any) -> str:
    """A value on one line; of an object that came or went, its title."""
    if value is None:
        return ""
    if isinstance(value, dict):
        title = value.get("title") or value.get("text")
        return (
            str(title) if title else ", ".join(f"{key}: {_text(one)}" for key, one in value.items())
        )
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
