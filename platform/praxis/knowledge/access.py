"""Who may see the workspace's documents.

Every member reads what has no access list, or one that names them; a document's own list replaces
its corpus's. Administrators change documents and lists, so they see every one of them here; what
search finds for them follows the lists all the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion


def access_keys(principal: Principal) -> list[str]:
    """The entries of an access list that let the principal in: its roles and itself.

    None for an anonymous visitor: whoever made the list did not mean the public.
    """
    if principal.visitor_key:
        return []
    keys = [f"role:{role.value}" for role in Role if principal.may(role)]
    if principal.user is not None:
        keys.append(f"user:{principal.user.pk}")
    return keys


class UnknownReader(ValueError):
    """An entry names neither a role nor a member; `name` is what was received."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def entries_from_names(names: Iterable[str], workspace: Workspace) -> list[str]:
    """Entries of an access list (`role:admin`, `user:3`) from how REST writes them: `role:admin`,
    `user:ada`. Raises `UnknownReader`."""
    roles = {role.value for role in Role}
    members = User.objects.filter(memberships__workspace=workspace)
    ids = {username.casefold(): pk for username, pk in members.values_list("username", "pk")}
    entries = []
    for written in names:
        kind, _, name = written.strip().casefold().partition(":")
        if kind == "role" and name in roles:
            entries.append(f"role:{name}")
        elif kind == "user" and name in ids:
            entries.append(f"user:{ids[name]}")
        else:
            raise UnknownReader(written)
    return list(dict.fromkeys(entries))


def with_names(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Corpora or documents as REST tells them: users of the access lists by name, in one query. Who
    was deleted stays a number, which names nobody."""
    ids = {
        int(entry.removeprefix("user:"))
        for each in objects
        for entry in each["access"]
        if entry.startswith("user:")
    }
    users = User.objects.filter(pk__in=ids).values_list("pk", "username") if ids else []
    names = {f"user:{pk}": f"user:{username}" for pk, username in users}
    return [
        {**each, "access": [names.get(entry, entry) for entry in each["access"]]}
        for each in objects
    ]


def corpora_of(principal: Principal) -> QuerySet[Corpus]:
    """Those with something in them that the principal may read."""
    corpora = Corpus.objects.filter(workspace=principal.workspace)
    if principal.may(Role.ADMIN):
        return corpora
    keys = access_keys(principal)
    own_list = Document.objects.filter(corpus=OuterRef("pk"), access__overlap=keys)
    return corpora.filter(Q(access=[]) | Q(access__overlap=keys) | Exists(own_list))


def _readable(principal: Principal) -> Q:
    """Of documents."""
    if principal.may(Role.ADMIN):
        return Q()
    keys = access_keys(principal)
    of_corpus = Q(corpus__access=[]) | Q(corpus__access__overlap=keys)
    return Q(access__overlap=keys) | (Q(access=[]) & of_corpus)


def documents_of(principal: Principal, corpus: Corpus) -> QuerySet[Document]:
    return corpus.documents.filter(_readable(principal))


@dataclass(frozen=True, kw_only=True)
class SearchedContent:
    """What an assistant's search covers for one caller; equal for two who would find the same."""

    corpora: tuple[UUID, ...]
    versions: tuple[int, ...]
    reader: tuple[str, ...]
    """What the caller is, as far as an access list asks for it."""


def searched_content(principal: Principal, assistant: str) -> SearchedContent:
    corpora = [
        corpus
        for corpus in corpora_of(principal)
        .only("pk", "assistants", "access", "content_version")
        .order_by("pk")
        if not corpus.assistants or assistant in corpus.assistants
    ]
    own_lists = Document.objects.filter(corpus__in=corpora).exclude(access=[])
    named = {entry for corpus in corpora for entry in corpus.access}
    named.update(entry for access in own_lists.values_list("access", flat=True) for entry in access)
    reader = []
    if named:
        reader = ["visitor" if principal.visitor_key else f"role:{principal.role.value}"]
    if any(not entry.startswith("role:") for entry in named):
        reader.append(f"user:{principal.user.pk if principal.user else principal.visitor_key}")
    return SearchedContent(
        corpora=tuple(corpus.pk for corpus in corpora),
        versions=tuple(corpus.content_version for corpus in corpora),
        reader=tuple(reader),
    )


def get_corpus(principal: Principal, corpus_id: UUID) -> Corpus:
    """The corpus, or 404 when it is not the principal's to see."""
    corpus = corpora_of(principal).select_related("workspace").filter(pk=corpus_id).first()
    if corpus is None:
        raise Http404
    return corpus


def get_document(principal: Principal, document_id: UUID) -> Document:
    """The document, or 404 when it is not the principal's to see."""
    document = (
        Document.objects.select_related("corpus__workspace")
        .filter(_readable(principal), pk=document_id, corpus__workspace=principal.workspace)
        .first()
    )
    if document is None:
        raise Http404
    return document


def get_record_of(corpus: Corpus, key: str) -> Document:
    """The live record, or 404."""
    document = (
        Document.objects.select_related("corpus__workspace").filter(corpus=corpus, key=key).first()
    )
    if document is None:
        raise Http404
    return document


def get_version(principal: Principal, version_id: UUID) -> DocumentVersion:
    """The version with its text, or 404 when it is not the principal's to see."""
    version = (
        DocumentVersion.objects.select_related("document__corpus__workspace", "job__workspace")
        .filter(pk=version_id, document__corpus__workspace=principal.workspace)
        .filter(document__in=Document.objects.filter(_readable(principal)))
        .first()
    )
    if version is None:
        raise Http404
    return version


def get_chunk(principal: Principal, chunk_id: int) -> Chunk:
    """The chunk with its version (without text), or 404 when it is not the principal's to see."""
    chunk = (
        Chunk.objects.select_related("version__document__corpus__workspace")
        .defer("embedding", "search", "terms", "version__text", "version__blocks")
        .filter(pk=chunk_id, workspace=principal.workspace)
        .filter(version__document__in=Document.objects.filter(_readable(principal)))
        .first()
    )
    if chunk is None:
        raise Http404
    return chunk
