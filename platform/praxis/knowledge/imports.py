"""Many documents from one source, as a job: each is taken or refused by itself, with the reason."""

import hashlib
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from praxis.accounts.models import User, Workspace
from praxis.jobs.models import TERMINAL_STATES, Job
from praxis.jobs.running import JobCancelled, JobRun, PermanentFailure
from praxis.jobs.services import enqueue
from praxis.knowledge import services, sources
from praxis.knowledge.models import Corpus
from praxis.sentences import Sentence, from_json, sentence_of

KIND = "knowledge.import"
ARCHIVES = "imports"
"""Folder of the stored archives."""
MOST_ARCHIVE_BYTES = 200 * 1024 * 1024
FETCHING = gettext_noop("Fetching")
MOST_REFUSALS_KEPT = 200
SEEN_SECONDS = 7 * 24 * 3600


def start_import(*, corpus: Corpus, source: str, value: str, created_by: User | None = None) -> Job:
    """`source`: `page` or `site` with an address, `archive` with a stored file's name, `folder` with
    a path below the watched folder."""
    return enqueue(
        kind=KIND,
        workspace=corpus.workspace,
        payload={"corpus_id": str(corpus.pk), "source": source, "value": value},
        created_by=created_by,
    )


def store_archive(file: File) -> str:
    """Under a name of our own; the import deletes it when it ends."""
    return default_storage.save(f"{ARCHIVES}/{uuid.uuid4().hex}", file)


def import_documents(run: JobRun) -> None:
    """The handler of `knowledge.import`."""
    try:
        _import_documents(run)
    except (JobCancelled, PermanentFailure):
        forget_archive(run.job)
        raise
    forget_archive(run.job)


def forget_archive(job: Job) -> None:
    """Delete the file of an import that has ended, once that is committed."""
    if job.payload["source"] == "archive":
        transaction.on_commit(partial(default_storage.delete, job.payload["value"]))


def _import_documents(run: JobRun) -> None:
    """The cursor counts what is done, and is what pages and REST show of it: `done`, `added`, `known`
    (the same content was there), `refused` (name, reason)."""
    corpus = Corpus.objects.select_related("workspace").filter(pk=run.payload["corpus_id"]).first()
    if corpus is None:
        return
    run.progress(0, stage=FETCHING, unit=gettext_noop("files"))
    try:
        items = _items(run.payload)
    except sources.SourceRefused as refusal:
        raise PermanentFailure(sentence_of(refusal)) from refusal
    state: dict[str, Any] = {"done": 0, "added": 0, "known": 0, "refused": [], **run.cursor}
    for number, item in enumerate(items[state["done"] :], state["done"] + 1):
        run.check()
        try:
            content = item.read()
            if services.find_content(corpus, content.data):
                state["known"] += 1
            else:
                services.add_document(
                    corpus=corpus,
                    title=content.title,
                    file_name=content.file_name,
                    content=content.data,
                    created_by=run.job.created_by,
                )
                state["added"] += 1
        except (sources.SourceRefused, services.UploadRefused) as refusal:
            reason = sentence_of(refusal).to_json()
            state["refused"] = [*state["refused"], [item.name, reason]][-MOST_REFUSALS_KEPT:]
        state["done"] = number
        run.save_cursor(state)
        run.progress(number, len(items))


def _items(payload: dict[str, Any]) -> list[sources.Item]:
    value = payload["value"]
    match payload["source"]:
        case "page":
            return sources.web_page(value)
        case "site":
            return sources.site(value)
        case "archive":
            if not default_storage.exists(value):
                raise sources.SourceRefused(_("The archive is no longer there. Upload it again."))
            # Kept open by its items; closed with the last of them.
            return sources.archive(default_storage.open(value))
        case "folder":
            return sources.folder(Path(settings.WATCHED_FOLDER) / value)
    raise PermanentFailure(f"Unknown source {payload['source']!r}.")


def imports_of(corpus: Corpus) -> list[Job]:
    """The running ones, and the last five that have ended, newest first."""
    jobs = Job.objects.filter(kind=KIND, payload__corpus_id=str(corpus.pk)).select_related(
        "workspace"
    )
    running = Q(state__in=TERMINAL_STATES)
    return [
        *jobs.exclude(running).order_by("-created_at"),
        *jobs.filter(running).order_by("-created_at")[:5],
    ]


def refused_by(job: Job) -> list[tuple[str, Sentence]]:
    """What an import did not take, by name, and why."""
    return [(name, from_json(reason)) for name, reason in job.cursor.get("refused", [])]


def to_dict(job: Job) -> dict[str, Any]:
    """An import as REST tells it."""
    counted = {name: job.cursor.get(name, 0) for name in ("added", "known")}
    return {
        **job.to_dict(),
        "corpus_id": job.payload["corpus_id"],
        "source": job.payload["source"],
        "address": job.payload["value"] if job.payload["source"] in ("page", "site") else None,
        **counted,
        "refused": [{"name": name, "reason": str(reason)} for name, reason in refused_by(job)],
    }


def watch() -> None:
    """Import what has changed below the watched folder: `WORKSPACE/CORPUS/…`, by their slug and
    name. Called by beat; does nothing without the setting."""
    if not settings.WATCHED_FOLDER:
        return
    root = Path(settings.WATCHED_FOLDER)
    for workspace_folder in _folders(root):
        workspace = Workspace.objects.filter(slug=workspace_folder.name).first()
        for corpus_folder in _folders(workspace_folder) if workspace else []:
            corpus = Corpus.objects.filter(workspace=workspace, name=corpus_folder.name).first()
            if corpus is not None and _has_changed(corpus, corpus_folder):
                start_import(
                    corpus=corpus, source="folder", value=str(corpus_folder.relative_to(root))
                )


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())


def _has_changed(corpus: Corpus, path: Path) -> bool:
    """Whether names, sizes or times differ from the last look; the content decides later."""
    facts = [(name, each.st_size, each.st_mtime_ns) for name, each in sources.files_in(path)]
    seen = hashlib.sha256(repr(facts).encode()).hexdigest()
    key = f"knowledge:folder:{corpus.pk}"
    if not facts or cache.get(key) == seen:
        return False
    cache.set(key, seen, SEEN_SECONDS)
    return True
