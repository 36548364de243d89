"""On which line of a JSON text each value stands, for error messages beside the text."""

import json
import re
from typing import Any

from apps.customer_service.schema import Problem

Path = tuple[str | int, ...]
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def parse_json(text: str) -> tuple[Any, list[tuple[int, str]]]:
    """The value and no problems, or None and the place where the text stops being JSON."""
    try:
        return json.loads(text), []
    except json.JSONDecodeError as error:
        return None, [(error.lineno, f"is not JSON: {error.msg} (column {error.colno})")]
    except RecursionError:
        return None, [(1, "is nested too deeply")]


def lines_of(text: str) -> dict[Path, int]:
    """The line, from 1, of every value of a valid JSON text, by its path."""
    lines: dict[Path, int] = {}
    path: list[str | int] = []
    in_list: list[bool] = []
    key_next = False
    for token in _TOKEN.finditer(text):
        symbol = token.group()
        if symbol in "}]":
            in_list.pop()
            path.pop()
        elif symbol == ",":
            if in_list[-1]:
                path[-1] = int(path[-1]) + 1
            else:
                key_next = True
        elif symbol == ":":
            continue
        elif key_next:
            path[-1] = json.loads(symbol)
            key_next = False
        else:
            here = tuple(path)
            lines.setdefault(here, text.count("\n", 0, token.start()) + 1)
            if symbol in "{[":
                in_list.append(symbol == "[")
                path.append(0 if symbol == "[" else "")
                key_next = symbol == "{"
    return lines


def place_problems(text: str, problems: list[Problem]) -> list[tuple[int, str]]:
    """Each problem with its line; a missing field is placed at the object that lacks it."""
    lines = lines_of(text)
    placed = []
    for problem in problems:
        path = problem.path
        while path and path not in lines:
            path = path[:-1]
        placed.append((lines.get(path, 1), f"{problem.place} {problem.message}"))
    return sorted(placed)
