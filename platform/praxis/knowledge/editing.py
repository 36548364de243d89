"""A person's own words for what search reads of a chunk.

The chunk keeps its place and its text, so a citation stays word for word what the document says;
only its vector and its words in the index follow the edit.
"""

from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from praxis.accounts.models import User
from praxis.assistants.language_model import embed
from praxis.knowledge import encoders, vector_space
from praxis.knowledge.content import content_changed
from praxis.knowledge.ingestion import embedded_text, indexed_words
from praxis.knowledge.models import Chunk

MAX_CHARACTERS = 4_000


class EditRefused(Exception):
    """The text is not taken; the message says why."""


def edit_chunk(chunk: Chunk, text: str, *, edited_by: User | None) -> None:
    """Let search read `text` in place of the chunk's own; an empty one undoes the edit.

    Raises `EditRefused`, and `ModelUnavailable` when it can't be embedded: nothing changes then.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise EditRefused(
            _("The text has %(size)s characters; at most %(limit)s are searched.")
            % {"size": len(text), "limit": MAX_CHARACTERS}
        )
    if text == chunk.text:
        text = ""
    document = chunk.version.document
    searched = text or chunk.text
    embedded = [embedded_text(document, chunk.heading, searched)]
    vector_space.check()
    (vector,) = embed(embedded)
    vector_space.check_width([vector])
    by_tuned = encoders.embed_by_tuned(chunk.workspace_id, embedded)
    with transaction.atomic():
        encoders.writing(chunk.workspace_id)
        Chunk.objects.filter(pk=chunk.pk).update(
            search_text=text,
            edited_by=edited_by if text else None,
            edited_at=Now() if text else None,
            embedding=vector,
            search=indexed_words(document, chunk.heading, searched),
        )
        encoders.keep_up(chunk.workspace_id, [chunk], embedded, by_tuned)
        content_changed(document.corpus_id)
