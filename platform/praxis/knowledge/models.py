"""What the assistants may cite: corpora, documents with their versions, and chunks with vectors."""

import uuid
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Value
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField, HnswIndex, SparseVectorField

from praxis.accounts.models import Workspace
from praxis.jobs.models import Job
from praxis.sentences import Sentence, with_stored_values

EMBEDDING_WIDTH = 384
"""Of the shipped encoder. The columns get another one from `vector_space`, which Django's migrations
don't see."""
HNSW_M, HNSW_EF_CONSTRUCTION = 32, 100
"""Twice pgvector's density: at a million chunks sparser graphs leave some of the nearest unreachable,
however far a search looks (docs/reference/retrieval.md). A chunk costs 3 ms instead of 1 to add."""
NEAREST: dict[str, Any] = {
    "fields": ["embedding"],
    "m": HNSW_M,
    "ef_construction": HNSW_EF_CONSTRUCTION,
    "opclasses": ["halfvec_cosine_ops"],
}
TERM_DIMENSIONS = 2**28
"""A word's place in `Chunk.terms` is a hash of it; two of a million words share one by chance in one
of 270 cases."""


def access_list() -> ArrayField:
    """Who may find it: `role:admin`, `user:3`; empty means everyone in the workspace."""
    return ArrayField(
        models.CharField(max_length=100),
        verbose_name=_("access"),
        default=list,
        blank=True,
        db_default=[],
    )


class Corpus(models.Model):
    """A named set of documents that some or all assistants of the workspace may search."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="corpora")
    name = models.CharField(_("name"), max_length=120)
    description = models.TextField(_("description"), blank=True)
    assistants = ArrayField(
        models.SlugField(max_length=60),
        verbose_name=_("assistants"),
        default=list,
        blank=True,
        help_text=_("Which assistants search here; none chosen means all of them."),
    )
    access = access_list()
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    """Of every document in it; a document's own entries win."""
    content_version = models.PositiveBigIntegerField(default=0, editable=False)
    """Grows with every change of what search can find here; see `content_changed`."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "corpora"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="corpus_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="corpus_has_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("knowledge:corpus", args=[self.workspace.slug, self.pk])

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.pk),
            "name": self.name,
            "description": self.description,
            "assistants": list(self.assistants),
            "access": list(self.access),
            "metadata": self.metadata,
            "created_at": self.created_at.isoformat(),
        }


class Document(models.Model):
    """One source; its content lives in numbered versions, of which one is searched."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    corpus = models.ForeignKey(Corpus, models.CASCADE, related_name="documents")
    title = models.CharField(_("title"), max_length=255)
    key = models.CharField(max_length=200, blank=True, default="")
    """Of a live record: what the other system calls it; see `records`. Empty for all others."""
    access = access_list()
    """Its own list replaces the corpus's."""
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    current_version = models.OneToOneField(
        "DocumentVersion", models.SET_NULL, null=True, blank=True, related_name="current_of"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # Two records may share a title; two files may not.
            models.UniqueConstraint(
                fields=["corpus", "title"],
                condition=Q(key=""),
                name="document_title_once",
            ),
            models.UniqueConstraint(
                fields=["corpus", "key"], condition=~Q(key=""), name="document_key_once"
            ),
            models.CheckConstraint(condition=~Q(title=""), name="document_has_title"),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("knowledge:document", args=[self.corpus.workspace.slug, self.pk])

    @property
    def latest_version(self) -> "DocumentVersion":
        """The newest version, searched or not; uses the prefetched versions if there are any."""
        return max(self.versions.all(), key=lambda version: version.number)

    def to_dict(self) -> dict[str, Any]:
        """With every version, the newest first; prefetch `versions_without_text` for many."""
        versions = sorted(self.versions.all(), key=lambda version: -version.number)
        return {
            "id": str(self.pk),
            "corpus_id": str(self.corpus_id),
            "title": self.title,
            "key": self.key or None,
            "access": list(self.access),
            "metadata": self.metadata,
            "current_version_id": str(self.current_version_id) if self.current_version_id else None,
            "created_at": self.created_at.isoformat(),
            "versions": [version.to_dict() for version in versions],
        }


class DocumentVersionQuerySet(models.QuerySet["DocumentVersion"]):
    def without_text(self) -> Self:
        """The same rows without the columns that may hold megabytes."""
        return self.defer("text", "blocks", "page_starts")

    def newest(self) -> Self:
        """Of each document the version with the highest number."""
        newer = DocumentVersion.objects.filter(
            document=OuterRef("document"), number__gt=OuterRef("number")
        )
        return self.filter(~Exists(newer))


class DocumentVersion(models.Model):
    """One uploaded file and the text taken from it. While it is read the text grows at its end;
    once it is ready, it never changes."""

    class State(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        PARSING = "parsing", _("Reading")
        EMBEDDING = "embedding", _("Indexing")
        READY = "ready", _("Ready")
        FAILED = "failed", _("Failed")

    UNFINISHED = (State.QUEUED, State.PARSING, State.EMBEDDING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    document = models.ForeignKey(Document, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    file = models.FileField(max_length=200)
    """Under a random name; see `services.add_document`."""
    file_name = models.CharField(_("file name"), max_length=255)
    """As uploaded; shown and offered for download, never used as a path."""
    media_type = models.CharField(max_length=120)
    size = models.PositiveBigIntegerField(_("size"))
    sha256 = models.CharField(max_length=64)
    text = models.TextField(blank=True)
    """Canonical text; every offset of a block, page, chunk or citation counts its characters."""
    blocks = models.JSONField(default=list)
    """The text's structure: `[kind, start, end, level]` for each heading, paragraph, item, row,
    and code block, in order; see `parsing.blocks`."""
    page_starts = models.JSONField(default=list)
    """Offset of each page's first character; empty for a file without pages."""
    notes = models.JSONField(default=list)
    """What a reader should know about the text, as `[code, values]`; see `parsing.sentences`."""
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    job = models.ForeignKey(Job, models.SET_NULL, null=True, blank=True, related_name="+")
    error = models.TextField(blank=True)
    """Why reading failed and what to do, for the person who uploaded it: English, with places for
    `error_values`. `cause` says it in the reader's language."""
    error_values = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)

    objects = DocumentVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "number"], name="version_number_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="version_number_from_one"),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "parsing", "embedding", "ready", "failed"]),
                name="version_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state="failed") | ~Q(error=""), name="failed_version_says_why"
            ),
        ]
        indexes = [
            # Each upload asks for versions with its content and with its file's name.
            models.Index(fields=["sha256"], name="version_content"),
            models.Index(fields=["file_name"], name="version_file_name"),
        ]

    def __str__(self) -> str:
        return f"{self.document.title} ({self.number})"

    @property
    def cause(self) -> Sentence:
        return with_stored_values(self.error, self.error_values)

    @property
    def is_given_up(self) -> bool:
        """Its job ended without an outcome: cancelled, or its worker died too often."""
        return self.state in self.UNFINISHED and self.job is not None and self.job.is_finished

    def page_of(self, offset: int) -> int | None:
        """The page (from 1) on which a character of the text stands; None without pages."""
        pages = [number for number, start in enumerate(self.page_starts, 1) if start <= offset]
        return pages[-1] if pages else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.pk),
            "number": self.number,
            "file_name": self.file_name,
            "media_type": self.media_type,
            "size": self.size,
            "sha256": self.sha256,
            "state": self.state,
            "error": str(self.cause),
            "job_id": str(self.job_id) if self.job_id else None,
            "progress": self.job.to_dict() if self.job and self.state != self.State.READY else None,
            "created_at": self.created_at.isoformat(),
            "ready_at": self.ready_at.isoformat() if self.ready_at else None,
        }


def versions_without_text() -> models.Prefetch:
    """For `Document` rows: their versions with jobs, without the text."""
    versions = DocumentVersion.objects.without_text().select_related("job__workspace")
    return models.Prefetch("versions", queryset=versions.order_by("-number"))


class Chunk(models.Model):
    """A span of a version's text that search can find and an answer can cite."""

    version = models.ForeignKey(DocumentVersion, models.CASCADE, related_name="chunks")
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    """The document's workspace again, so that the index query itself is held to one tenant."""
    ordinal = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    page = models.PositiveIntegerField(null=True, blank=True)
    heading = models.TextField(blank=True)
    """The headings above the span, outermost first, joined by " › "."""
    text = models.TextField()
    """`version.text[start:end]`, always: this is what an answer quotes."""
    search_text = models.TextField(_("text for the search"), blank=True)
    """What search reads instead of `text`, written by a person; an answer still quotes `text`."""
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    edited_at = models.DateTimeField(null=True, blank=True)
    parent_start = models.PositiveIntegerField(null=True, blank=True)
    parent_end = models.PositiveIntegerField(null=True, blank=True)
    """The larger piece around it, `version.text[parent_start:parent_end]`: what to read when the
    chunk alone is too little."""
    access = access_list()
    """Copied from the document or its corpus, so that the index query itself keeps to it."""
    metadata = models.JSONField(default=dict, blank=True, db_default=Value({}, models.JSONField()))
    embedding = HalfVectorField(dimensions=EMBEDDING_WIDTH)
    """In half precision: the index and a scan of the rows are half as large, and what is nearest
    stays so (`make bench NAME=index`). The migration keeps it beside the row's other short columns:
    out of line, each comparison would cost a look-up."""
    search = SearchVectorField()
    terms = models.GeneratedField(
        expression=models.Func(F("search"), function="knowledge_impacts"),
        output_field=SparseVectorField(dimensions=TERM_DIMENSIONS),
        db_persist=True,
    )
    """What each word contributes to BM25 before the word's rarity is multiplied in, so that the
    inner product with a query's weights is the score; see `praxis.knowledge.terms`."""

    class Meta:
        constraints = [
            # A job that runs again after a crash can neither lose nor double a chunk.
            models.UniqueConstraint(fields=["version", "ordinal"], name="chunk_ordinal_once"),
            models.CheckConstraint(condition=Q(end__gt=F("start")), name="chunk_not_empty"),
        ]
        indexes = [
            # Both legs of `search.search`: nearest vectors, and words of the query.
            HnswIndex(name="chunk_nearest", **NEAREST),
            GinIndex(fields=["search"], name="chunk_words"),
        ]

    def __str__(self) -> str:
        return f"{self.version_id}#{self.ordinal}"

    @property
    def searched_text(self) -> str:
        """What is embedded and indexed, now and whenever it is embedded again."""
        return self.search_text or self.text

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.pk),
            "version_id": str(self.version_id),
            "ordinal": self.ordinal,
            "start": self.start,
            "end": self.end,
            "page": self.page,
            "heading": self.heading,
            "text": self.text,
        }


class Encoder(models.Model):
    """An encoder that was tuned for a workspace, from the training to the vectors of its chunks."""

    class State(models.TextChoices):
        TRAINING = "training", _("Being trained")
        TRAINED = "trained", _("Trained")
        INDEXING = "indexing", _("Vectors are being made")
        INDEXED = "indexed", _("Ready to search with")
        RETIRED = "retired", _("Retired")

    KEPT_UP = (State.INDEXING, State.INDEXED)
    """Whoever writes a chunk writes its vector of these encoders too."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="encoders")
    name = models.SlugField(_("name"), max_length=60)
    state = models.CharField(max_length=10, choices=State.choices, default=State.TRAINING)
    job = models.ForeignKey(Job, models.SET_NULL, null=True, blank=True, related_name="+")
    """The training."""
    indexing = models.ForeignKey(Job, models.SET_NULL, null=True, blank=True, related_name="+")
    """The newest making of its vectors."""
    recipe = models.JSONField()
    """What the person chose; see `praxis.tuning.encoders.Choices`."""
    pairs = models.JSONField(default=dict, blank=True)
    """How many pairs were learnt and held out, by origin."""
    result = models.JSONField(default=dict, blank=True)
    """What the trainer wrote at its end; empty before."""
    base = models.CharField(max_length=200)
    """The encoder that it was tuned from."""
    sha256 = models.CharField(max_length=64, blank=True)
    """Of MANIFEST.json, which holds the size and hash of every file; empty before it is trained."""
    cosine_scale = models.FloatField(default=1.0)
    cosine_shift = models.FloatField(default=0.0)
    """They bring its cosines to those of its base, by which `search.relevance` judges."""
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="encoder_name_once"),
            models.CheckConstraint(
                condition=Q(state__in=["training", "trained", "indexing", "indexed", "retired"]),
                name="encoder_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["training", "retired"]) | ~Q(sha256=""),
                name="trained_encoder_has_files",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("tuning:encoder", args=[self.workspace.slug, self.pk])

    @property
    def served_name(self) -> str:
        """The `model` of a request, and the name of its folder."""
        return f"{self.workspace.slug}.{self.name}"


class EncoderSwitch(models.Model):
    """A workspace's search went over to an encoder (None: the shipped one); the newest counts."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="encoder_switches")
    encoder = models.ForeignKey(
        Encoder, models.RESTRICT, null=True, blank=True, related_name="switches"
    )
    previous = models.ForeignKey(Encoder, models.SET_NULL, null=True, blank=True, related_name="+")
    """What one click returns to."""
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        # Every search asks for the newest one.
        indexes = [models.Index(fields=["workspace", "-id"], name="newest_encoder_switch")]

    def __str__(self) -> str:
        return f"{self.workspace_id} → {self.encoder or 'shipped'}"


class VectorSpace(models.Model):
    """Which encoder `Chunk.embedding` was made by; one row at most. See `vector_space`."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=200)
    width = models.PositiveIntegerField()
    probe = ArrayField(models.FloatField())
    """What it makes of `vector_space.PROBED`."""
    next_probe = ArrayField(models.FloatField(), null=True, blank=True)
    """The same of the encoder that every passage is being embedded by anew."""

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_vector_space")]

    def __str__(self) -> str:
        return self.name


class TunedVector(models.Model):
    """A chunk's vector by a tuned encoder, beside the shipped encoder's in `Chunk.embedding`.

    It has no rights of its own: search reaches it through its chunk only. PostgreSQL deletes it with
    its chunk or its encoder, so that neither needs to ask Django for it.
    """

    encoder = models.ForeignKey(
        Encoder, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    chunk = models.ForeignKey(Chunk, models.DO_NOTHING, db_constraint=False, related_name="+")
    embedding = HalfVectorField(dimensions=EMBEDDING_WIDTH)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["encoder", "chunk"], name="tuned_vector_once")
        ]
        indexes = [
            HnswIndex(name="tuned_nearest", **NEAREST),
        ]

    def __str__(self) -> str:
        return f"{self.encoder_id}#{self.chunk_id}"


class TermCount(models.Model):
    """In how many chunks of a workspace a word stands: the sum over its rows.

    Triggers on `Chunk` add rows and never change one, so that writers don't wait for each other;
    `terms.compact` adds them up now and then. Term 0 counts the chunks themselves.
    """

    workspace = models.ForeignKey(
        # The trigger of a deleted chunk may write after its workspace's rows are gone.
        Workspace,
        models.CASCADE,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    term = models.IntegerField()
    num_chunks = models.IntegerField()

    class Meta:
        # Each search asks for the counts of its words and nothing else of the row.
        indexes = [
            models.Index(fields=["workspace", "term"], include=["num_chunks"], name="count_of_term")
        ]

    def __str__(self) -> str:
        return f"{self.workspace_id}:{self.term} {self.num_chunks:+d}"


class SearchProfile(models.Model):
    """Search settings that differ from the defaults: of a workspace, or of one of its corpora."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="search_profiles")
    corpus = models.OneToOneField(
        Corpus, models.CASCADE, null=True, blank=True, related_name="search_profile"
    )
    values = models.JSONField()
    """The fields of `search_settings.SearchSettings`."""
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"],
                condition=Q(corpus=None),
                name="workspace_search_profile_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workspace} · {self.corpus or '*'}"
