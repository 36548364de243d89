"""Pages of the knowledge area: corpora, documents, a document's text, a search test."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from praxis.accounts.access import Principal, enter_workspace, record
from praxis.accounts.models import Role
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.registry import all_assistants
from praxis.jobs.models import Job
from praxis.jobs.running import PermanentFailure
from praxis.knowledge import display, imports, services
from praxis.knowledge.access import (
    corpora_of,
    documents_of,
    get_chunk,
    get_corpus,
    get_document,
    get_version,
)
from praxis.knowledge.content import revise, revise_corpus
from praxis.knowledge.editing import EditRefused
from praxis.knowledge.editing import edit_chunk as edit_chunk_text
from praxis.knowledge.forms import CorpusForm, DocumentForm, ImportForm, changes_of
from praxis.knowledge.models import Corpus, Document, DocumentVersion, versions_without_text
from praxis.knowledge.page_pictures import has_pictures, page_picture
from praxis.knowledge.parsing.blocks import Refused
from praxis.knowledge.parsing.formats import MAX_FILE_BYTES, SUFFIXES
from praxis.knowledge.parsing.sentences import sentence
from praxis.knowledge.search import Found, as_passages, search
from praxis.sentences import Sentence

DOCUMENTS_A_PAGE = 50
CHUNKS_A_PAGE = 50
PASSAGES_SHOWN = 8


@login_required
@require_GET
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    corpora = (
        corpora_of(principal)
        .annotate(
            num_documents=Count("documents", distinct=True),
            num_searched=Count(
                "documents", filter=Q(documents__current_version__isnull=False), distinct=True
            ),
        )
        .order_by("name", "pk")
    )
    return render(
        request,
        "knowledge/index.html",
        {
            "principal": principal,
            "may_change": principal.may(Role.ADMIN),
            "corpora": [(corpus, _assistants_of(corpus)) for corpus in corpora],
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def add_corpus(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = CorpusForm(request.POST or None, workspace=principal.workspace)
    if request.method == "POST" and form.is_valid():
        corpus = form.save()
        record(principal, "corpus.create", corpus)
        return redirect(corpus)
    return render(request, "knowledge/corpus_form.html", {"principal": principal, "form": form})


@login_required
@require_http_methods(["GET", "POST"])
def edit_corpus(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    corpus = get_corpus(principal, corpus_id)
    form = CorpusForm(request.POST or None, instance=corpus, workspace=principal.workspace)
    if request.method == "POST" and form.is_valid():
        revise_corpus(corpus, **changes_of(form))
        record(principal, "corpus.edit", corpus, assistants=corpus.assistants, access=corpus.access)
        return redirect(corpus)
    return render(
        request,
        "knowledge/corpus_form.html",
        {"principal": principal, "form": form, "corpus": corpus},
    )


@login_required
@require_http_methods(["GET", "POST"])
def delete_corpus(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    corpus = get_corpus(principal, corpus_id)
    if request.method == "POST":
        record(principal, "corpus.delete", corpus)
        services.delete_corpus(corpus)
        messages.success(request, _("The corpus and its documents were deleted."))
        return redirect("knowledge:index", workspace=workspace)
    context = {"principal": principal, "corpus": corpus, "back": corpus.get_absolute_url()}
    return render(request, "knowledge/confirm_delete.html", context)


@login_required
@require_GET
def corpus(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    """The documents, the upload form, and with `?q=` what a search of this corpus finds."""
    principal = enter_workspace(request, workspace)
    corpus = get_corpus(principal, corpus_id)
    query = request.GET.get("q", "").strip()
    found: tuple[Found, ...] = ()
    if query:
        found = search(
            principal=principal, corpora=[corpus.pk], query=query, limit=PASSAGES_SHOWN
        ).found
    return render(
        request,
        "knowledge/corpus.html",
        {
            **_documents_context(request, principal, corpus),
            "assistants": _assistants_of(corpus),
            "suffixes": ",".join([*SUFFIXES, ".zip"]),
            "import_form": ImportForm(),
            "imports": _imports_of(corpus),
            "max_megabytes": MAX_FILE_BYTES // 1048576,
            "query": query,
            "passages": zip(as_passages(principal.workspace, query, found), found, strict=True),
            "words_only": any(each.cosine is None for each in found),
        },
    )


@login_required
@require_GET
def document_rows(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    """The table alone; the page asks for it when a document's job has ended."""
    principal = enter_workspace(request, workspace)
    context = _documents_context(request, principal, get_corpus(principal, corpus_id))
    response = render(request, "knowledge/_documents.html", context)
    response["Cache-Control"] = "no-store"
    return response


@login_required
@require_POST
def upload(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    """One or more files; each is taken or refused by itself, and the page says which."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    corpus = get_corpus(principal, corpus_id)
    files = request.FILES.getlist("files")
    if not files:
        messages.warning(request, _("No file was chosen. Choose one or more files, then upload."))
    title = request.POST.get("title", "") if len(files) == 1 else ""
    num_added = sum(_take(request, principal, corpus, file, title) for file in files)
    if num_added:
        messages.success(
            request,
            ngettext(
                "%(count)d document was uploaded and is being read.",
                "%(count)d documents were uploaded and are being read.",
                num_added,
            )
            % {"count": num_added},
        )
    return redirect(corpus)


def _take(
    request: HttpRequest, principal: Principal, corpus: Corpus, file: UploadedFile, title: str
) -> bool:
    """Whether the file was added; if not, a message with its name tells the reason."""
    name = file.name or ""
    if name.lower().endswith(".zip"):
        return _take_archive(request, principal, corpus, file)
    try:
        if file.size and file.size > MAX_FILE_BYTES:
            megabytes = round(file.size / 1048576, 1)
            values = {"megabytes": megabytes, "limit": MAX_FILE_BYTES // 1048576}
            raise services.UploadRefused(sentence("too_large", values))
        content = file.read()
        if existing := services.find_content(corpus, content):
            text = format_html(
                '{}: {} <a href="{}">{}</a>',
                name,
                _("the same content is here already, as"),
                existing.document.get_absolute_url(),
                existing.document.title,
            )
            messages.warning(request, text)
            return False
        version = services.add_document(
            corpus=corpus,
            title=title,
            file_name=name,
            content=content,
            created_by=principal.user,
        )
    except services.UploadRefused as refusal:
        messages.error(request, f"{name}: {refusal}")
        return False
    record(principal, "document.upload", version.document, version=version.number)
    return True


def _take_archive(
    request: HttpRequest, principal: Principal, corpus: Corpus, file: UploadedFile
) -> bool:
    """False: its documents are counted by the import, not as uploads."""
    if (file.size or 0) > imports.MOST_ARCHIVE_BYTES:
        limit = imports.MOST_ARCHIVE_BYTES // 1048576
        messages.error(
            request,
            _("%(name)s: an archive may have %(limit)s MB.") % {"name": file.name, "limit": limit},
        )
        return False
    job = imports.start_import(
        corpus=corpus,
        source="archive",
        value=imports.store_archive(file),
        created_by=principal.user,
    )
    record(principal, "corpus.import", corpus, source="archive", job=str(job.pk))
    messages.success(request, _("%(name)s is being unpacked.") % {"name": file.name})
    return False


@login_required
@require_GET
def document(request: HttpRequest, workspace: str, document_id: UUID) -> HttpResponse:
    """The text of the searched version, or of `?version=`, with `?start=&end=` highlighted."""
    principal = enter_workspace(request, workspace)
    found = get_document(principal, document_id)
    version = _version_asked_for(request, principal, found)
    span = _span(request, version)
    cited_page = version.page_of(span[0]) if span and has_pictures(version) else None
    return render(
        request,
        "knowledge/document.html",
        {
            "principal": principal,
            "may_change": principal.may(Role.ADMIN),
            "document": found,
            "version": version,
            "versions": found.versions.without_text()
            .select_related("job__workspace")
            .order_by("-number"),
            "notes": [sentence(code, values) for code, values in version.notes],
            "part": display.part_of(version, number=_number(request, "part"), span=span),
            "span": span,
            "cited_page": cited_page,
            "passage_missing": "start" in request.GET and span is None,
        },
    )


def _span(request: HttpRequest, version: DocumentVersion) -> tuple[int, int] | None:
    """`?start=&end=` as a span of the version's text; None without a sensible one."""
    start, end = _number(request, "start"), _number(request, "end")
    if start is None or end is None or not 0 <= start < end <= len(version.text):
        return None
    return start, end


def _version_asked_for(
    request: HttpRequest, principal: Principal, document: Document
) -> DocumentVersion:
    """404 for a version of another document; without `?version=` the searched or newest one."""
    if "version" in request.GET:
        try:
            version = get_version(principal, UUID(request.GET["version"]))
        except ValueError:
            raise Http404 from None
        if version.document_id != document.pk:
            raise Http404
        return version
    newest = document.current_version_id or document.versions.without_text().latest("number").pk
    return get_version(principal, newest)


@login_required
@require_http_methods(["GET", "POST"])
def edit_document(request: HttpRequest, workspace: str, document_id: UUID) -> HttpResponse:
    """Title, access list and metadata."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    document = get_document(principal, document_id)
    form = DocumentForm(request.POST or None, instance=document)
    if request.method == "POST" and form.is_valid():
        revise(document, **changes_of(form))
        record(principal, "document.edit", document, access=document.access)
        return redirect(document)
    return render(
        request,
        "knowledge/document_form.html",
        {"principal": principal, "form": form, "document": get_document(principal, document_id)},
    )


@login_required
@require_POST
def start_import(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    corpus = get_corpus(principal, corpus_id)
    form = ImportForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("The address can't be read. It begins with https:// or http://."))
        return redirect(corpus)
    job = imports.start_import(
        corpus=corpus,
        source=form.cleaned_data["source"],
        value=form.cleaned_data["url"],
        created_by=principal.user,
    )
    record(principal, "corpus.import", corpus, source=form.cleaned_data["source"], job=str(job.pk))
    return redirect(f"{corpus.get_absolute_url()}#imports")


def _imports_of(corpus: Corpus) -> list[tuple[Job, list[tuple[str, Sentence]]]]:
    """With what each did not take."""
    return [(job, imports.refused_by(job)) for job in imports.imports_of(corpus)]


@login_required
@require_GET
def import_rows(request: HttpRequest, workspace: str, corpus_id: UUID) -> HttpResponse:
    """The imports alone; the page asks for them when one has ended."""
    principal = enter_workspace(request, workspace)
    corpus = get_corpus(principal, corpus_id)
    response = render(
        request,
        "knowledge/_imports.html",
        {
            "principal": principal,
            "may_change": principal.may(Role.ADMIN),
            "corpus": corpus,
            "imports": _imports_of(corpus),
        },
    )
    response["Cache-Control"] = "no-store"
    return response


@login_required
@require_http_methods(["GET", "POST"])
def delete_document(request: HttpRequest, workspace: str, document_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    document = get_document(principal, document_id)
    corpus = document.corpus
    if request.method == "POST":
        record(principal, "document.delete", document)
        services.delete_document(document)
        messages.success(request, _("The document was deleted."))
        return redirect(corpus)
    context = {
        "principal": principal,
        "corpus": corpus,
        "document": document,
        "back": document.get_absolute_url(),
    }
    return render(request, "knowledge/confirm_delete.html", context)


@login_required
@require_GET
def chunks(request: HttpRequest, workspace: str, version_id: UUID) -> HttpResponse:
    """What search sees of a version: its chunks in order."""
    principal = enter_workspace(request, workspace)
    version = get_version(principal, version_id)
    rows = version.chunks.select_related("edited_by").defer("embedding", "search", "terms")
    rows = rows.order_by("ordinal")
    return render(
        request,
        "knowledge/chunks.html",
        {
            "principal": principal,
            "version": version,
            "document": version.document,
            "page": Paginator(rows, CHUNKS_A_PAGE).get_page(request.GET.get("page")),
            "may_change": principal.may(Role.ADMIN),
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def edit_chunk(request: HttpRequest, workspace: str, chunk_id: int) -> HttpResponse:
    """What search reads of one passage, beside what the document says."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    chunk = get_chunk(principal, chunk_id)
    back = reverse("knowledge:chunks", args=[workspace, chunk.version_id])
    back = f"{back}?page={chunk.ordinal // CHUNKS_A_PAGE + 1}#passage-{chunk.ordinal}"
    text, problem = chunk.searched_text, ""
    if request.method == "POST":
        text = request.POST.get("text", "").replace("\r\n", "\n")
        try:
            edit_chunk_text(chunk, "" if "undo" in request.POST else text, edited_by=principal.user)
        except (EditRefused, ModelUnavailable, PermanentFailure) as refusal:
            problem = str(refusal)
        else:
            record(principal, "chunk.edit", chunk.version.document, chunk=chunk.pk)
            return redirect(back)
    return render(
        request,
        "knowledge/chunk_form.html",
        {
            "principal": principal,
            "chunk": chunk,
            "document": chunk.version.document,
            "text": text,
            "problem": problem,
            "back": back,
        },
    )


@login_required
@require_GET
def page(request: HttpRequest, workspace: str, version_id: UUID, number: int) -> HttpResponse:
    """A page of a PDF as a picture, with `?start=&end=` marked."""
    principal = enter_workspace(request, workspace)
    version = get_version(principal, version_id)
    if not has_pictures(version) or not 1 <= number <= len(version.page_starts):
        raise Http404
    try:
        picture = page_picture(version, number, _span(request, version))
    except Refused as refusal:
        raise Http404 from refusal
    return HttpResponse(
        picture, content_type="image/png", headers={"Cache-Control": "private, max-age=3600"}
    )


@login_required
@require_GET
def download(request: HttpRequest, workspace: str, version_id: UUID) -> FileResponse:
    """The uploaded file, always as an attachment: a browser must never render it here."""
    principal = enter_workspace(request, workspace)
    version = get_version(principal, version_id)
    response = FileResponse(
        version.file.open("rb"),
        as_attachment=True,
        filename=version.file_name,
        content_type=version.media_type,
    )
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


def _documents_context(
    request: HttpRequest, principal: Principal, corpus: Corpus
) -> dict[str, Any]:
    documents = documents_of(principal, corpus).prefetch_related(versions_without_text())
    documents = documents.order_by("title", "pk")
    page: Page[Document] = Paginator(documents, DOCUMENTS_A_PAGE).get_page(request.GET.get("page"))
    return {
        "principal": principal,
        "may_change": principal.may(Role.ADMIN),
        "corpus": corpus,
        "page": page,
    }


def _assistants_of(corpus: Corpus) -> list[Any]:
    """The installed assistants that search in the corpus."""
    return [
        assistant
        for assistant in all_assistants()
        if not corpus.assistants or assistant.slug in corpus.assistants
    ]


def _number(request: HttpRequest, name: str) -> int | None:
    """A whole number of the address; None for a missing or senseless one."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
