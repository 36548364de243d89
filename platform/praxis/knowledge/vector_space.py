"""Which encoder the index was made by, and whether it is the one that is configured.

Vectors of two encoders don't compare, and names don't tell: a server may load another model under
the name that it had. So one row (`VectorSpace`) keeps what the encoder made of a fixed sentence. When
the configured one makes something else of it, search goes by words and nothing is indexed, with a
sentence that says so, until `manage.py change_encoder` has embedded every passage again.
"""

import time
from collections.abc import Sequence

import numpy as np
from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q
from django.utils.translation import gettext_noop

from praxis.assistants.language_model import embed
from praxis.jobs.running import PermanentFailure
from praxis.knowledge import encoders
from praxis.knowledge.models import (
    EMBEDDING_WIDTH,
    Chunk,
    Encoder,
    EncoderSwitch,
    VectorSpace,
)
from praxis.sentences import Sentence

PROBED = (
    "How long may an opened bottle of the medicine be kept in the fridge? 药品开封后可以保存多久？"
)
SAME_COSINE = 0.97
"""Between one encoder's vectors in different precision; another encoder's are near 0."""
BELIEVED_SECONDS = 300.0
MOST_NUMBERS = 4000
"""That pgvector's index takes in half precision."""


class OtherEncoder(PermanentFailure):
    """The configured encoder isn't the one that the index was made by."""


_believed_until = 0.0


def forget() -> None:
    """Ask the encoder again at the next check."""
    global _believed_until
    _believed_until = 0.0


def width() -> int:
    """Numbers of a vector in the index."""
    found = VectorSpace.objects.values_list("width", flat=True).first()
    return EMBEDDING_WIDTH if found is None else found


def check() -> None:
    """Raises `OtherEncoder`, and `ModelUnavailable`. What it found is believed for five minutes.

    An index that holds nothing yet is set up for the configured encoder.
    """
    global _believed_until
    if time.monotonic() < _believed_until:
        return
    probe = probed()
    made_by = VectorSpace.objects.first()
    if made_by is None or not is_same(made_by.probe, probe):
        if made_by is not None and Chunk.objects.exists():
            raise OtherEncoder(
                Sentence(
                    gettext_noop(
                        "The passages were embedded by %(before)s; %(now)s is configured, whose vectors "
                        "don't compare with theirs. Configure the former again, or run "
                        "“manage.py change_encoder”, which embeds every passage anew."
                    ),
                    {"before": made_by.name, "now": settings.EMBEDDING_MODEL},
                )
            )
        _set_up(probe)
    _believed_until = time.monotonic() + BELIEVED_SECONDS


def check_width(vectors: Sequence[Sequence[float]]) -> None:
    """Raises `OtherEncoder` for vectors that the index doesn't take."""
    expected = width()
    if found := next((len(each) for each in vectors if len(each) != expected), None):
        raise OtherEncoder(
            Sentence(
                gettext_noop(
                    "The encoder %(name)s gives vectors of %(width)s numbers; the index holds "
                    "%(expected)s. Configure another one, or run “manage.py change_encoder”."
                ),
                {"name": settings.EMBEDDING_MODEL, "width": found, "expected": expected},
            )
        )


def probed() -> list[float]:
    (probe,) = embed([PROBED])
    if len(probe) > MOST_NUMBERS:
        raise OtherEncoder(
            Sentence(
                gettext_noop(
                    "The encoder %(name)s gives vectors of %(width)s numbers; at most %(most)s fit."
                ),
                {"name": settings.EMBEDDING_MODEL, "width": len(probe), "most": MOST_NUMBERS},
            )
        )
    return probe


def is_same(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and float(np.dot(one, other)) >= SAME_COSINE


def _set_up(probe: list[float]) -> None:
    """For an installation without passages, and for one from before there was a row."""
    with transaction.atomic(), connection.cursor() as cursor:
        encoders.alone()
        if len(probe) != width():
            if Chunk.objects.exists():  # from before there was a row: it came with this width
                check_width([probe])
            cursor.execute(
                f"ALTER TABLE knowledge_chunk ALTER COLUMN embedding TYPE halfvec({len(probe)})"
            )
        adopt(cursor, probe)


def adopt(cursor: CursorWrapper, probe: list[float]) -> None:
    """The index holds this encoder's vectors from the commit on; what others were made for goes."""
    if VectorSpace.objects.exists():
        _leave_others(cursor, len(probe))
    VectorSpace.objects.update_or_create(
        id=1,
        defaults={
            "name": settings.EMBEDDING_MODEL,
            "width": len(probe),
            "probe": probe,
            "next_probe": None,
        },
    )


def _leave_others(cursor: CursorWrapper, new_width: int) -> None:
    """Encoders that were tuned from the one before, and the memories' vectors."""
    for switch in EncoderSwitch.objects.order_by("workspace", "-id").distinct("workspace"):
        if switch.encoder is not None:
            encoders.switch(switch.workspace, None, by=None)
    cursor.execute("TRUNCATE knowledge_tunedvector")
    cursor.execute(
        f"ALTER TABLE knowledge_tunedvector ALTER COLUMN embedding TYPE halfvec({new_width})"
    )
    Encoder.objects.filter(~Q(state=Encoder.State.TRAINING)).update(state=Encoder.State.RETIRED)
    # They come back as conversations go on.
    apps.get_model("conversations", "MessageEmbedding").objects.all().delete()
