"""What a turn is given, without a database or a model server."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from praxis.assistants.contract import (
    ModelUnavailable,
    Passage,
    Remembered,
    ScoredToken,
    Turn,
)


class ScriptedModel:
    """Says the given pieces; with `fails_after` it breaks off after that many."""

    name = "scripted"

    def __init__(self, *pieces: str, fails_after: int | None = None) -> None:
        self.pieces, self.fails_after = pieces, fails_after
        self.closed = False
        self.prompts: list[list[dict[str, str]]] = []

    def stream(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        self.prompts.append([dict(message) for message in messages])
        try:
            for number, piece in enumerate(self.pieces):
                if number == self.fails_after:
                    raise ModelUnavailable("The model server stopped in the middle.")
                yield piece
            if self.fails_after == len(self.pieces):
                raise ModelUnavailable("The model server does not answer at the moment.")
        finally:
            self.closed = True

    def write(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        grammar: str,
        max_tokens: int,
        timeout_seconds: float,
    ) -> list[ScoredToken]:
        self.prompts.append([dict(message) for message in messages])
        return [ScoredToken(piece, -0.01) for piece in self.pieces]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _text in texts]


class FixedMemory:
    """Remembers what it was made with; nothing by default."""

    def __init__(
        self,
        *,
        recent: Sequence[dict[str, str]] = (),
        summary: str = "",
        archive: Sequence[Remembered] = (),
    ) -> None:
        self._recent, self._summary, self._archive = list(recent), summary, list(archive)

    def recent(self, max_tokens: int) -> list[dict[str, str]]:
        return self._recent

    def summary(self, max_tokens: int = 200) -> str:
        return self._summary

    def recall(self, query: str, limit: int = 3, *, also_recent: bool = False) -> list[Remembered]:
        return self._archive[:limit]


def make_passage(number: int, text: str, *, score: float = 0.8, title: str = "Policy") -> Passage:
    return Passage(
        number=number,
        document_id=f"d{number}",
        version_id=f"v{number}",
        chunk_id=f"c{number}",
        title=title,
        text=text,
        start=0,
        end=len(text),
        page=None,
        score=score,
        url="/passage",
    )


def make_turn(
    text: str, *, model: ScriptedModel | None = None, passages: Sequence[Passage] = (), **more: Any
) -> Turn:
    return Turn(
        text=text,
        number=more.pop("number", 1),
        state=more.pop("state", {}),
        memory=more.pop("memory", FixedMemory()),
        model=model or ScriptedModel("Hello", " there."),
        retrieve=lambda query, limit: list(passages)[:limit],
        workspace_id="w",
        conversation_id="c",
        **more,
    )
