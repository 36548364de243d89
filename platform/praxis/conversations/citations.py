"""The one citation object: the same in page, REST, OpenAI-compatible API, exports and webhooks."""

from collections.abc import Sequence
from typing import Any


def citations_of(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The passages an answer was given, each with the sentences of the answer that it carries.

    `events` are stored ones. A citation is a `contract.Passage`, taken from what retrieval found,
    and `sentences`: for each sentence that the check found carried by it, `start` and `end` in the
    answer's text, and `source_start`, `source_end` and `quote`, the exact span in the document
    version. What the model wrote in brackets adds nothing here.
    """
    checked = [event for event in events if event["kind"] == "support"]
    carried: dict[int, list[dict[str, Any]]] = {}
    for sentence in checked[-1]["sentences"] if checked else []:
        if sentence["citation"] is not None and sentence.get("quote"):
            carried.setdefault(sentence["citation"], []).append(
                {
                    key: sentence[key]
                    for key in ("start", "end", "source_start", "source_end", "quote")
                }
            )
    return [
        {**citation, "sentences": carried.get(citation["number"], [])}
        for event in events
        if event["kind"] == "retrieved"
        for citation in event["citations"]
    ]
