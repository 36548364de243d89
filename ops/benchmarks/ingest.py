"""Documents to searchable, by the processes that do it in the product.

An embedded PostgreSQL and Valkey, the model server, and a Celery worker as `manage.py up` starts it.
First PDF files with a text layer, 25 pages of 1,800 characters each (`--pages`, 1,000 by default);
then every document of `medical/medquad` as Markdown (`--limit` takes the first N). Uploading counts
too. While the documents are read the worker is killed three times (`--kills`) with all its processes,
and started again; afterwards every text is compared with its source and every chunk with its text:
`lost` and `doubled` must be 0. Meanwhile a question is embedded every half second, as a search does:
`question_ms_p95`, beside `question_idle_ms_p95` before. `rss_mb` is the highest proportional memory
of the worker with its readers, `rss_growth_mb` how much more it took in the last quarter of the time
than in the second.
"""

import argparse
import contextlib
import json
import lzma
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE_CHARACTERS = 1_800
"""The standard page of publishing."""
PAGES_A_FILE = 25
STUCK_SECONDS = 300
KEY_VARIABLE = "PRAXIS_BENCH_KEY"


def run(args: argparse.Namespace) -> dict[str, Any]:
    documents = _documents(args.data, args.limit)
    num_pages = 1_000 if args.pages is None else args.pages
    with tempfile.TemporaryDirectory(prefix="praxis-bench-") as directory:
        return _measured(documents, num_pages, args.kills, Path(directory))


def _documents(data: Path, limit: int | None) -> list[str]:
    """Each as Markdown: the subject as title, the questions as headings."""
    texts = []
    with lzma.open(data / "medical" / "medquad.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            parts = [f"# {row['focus']}"]
            for pair in row["qa"]:
                parts += [f"## {pair['q']}", pair["a"]]
            texts.append("\n\n".join(parts))
            if limit is not None and len(texts) == limit:
                break
    return texts


def _pdf_files(documents: list[str], num_pages: int) -> Iterator[tuple[int, bytes]]:
    """Number of pages and content; the text of the documents one after another."""
    from praxis.knowledge.tests.files import pdf

    lines = (
        line.encode("latin-1", "ignore").decode("latin-1")
        for text in documents
        for line in textwrap.wrap(" ".join(text.split()), 80)
    )
    pages: list[list[str]] = []
    made = 0
    while made < num_pages:
        page: list[str] = []
        while sum(map(len, page)) < PAGE_CHARACTERS and (line := next(lines, None)) is not None:
            page.append(line)
        if not page:
            break
        pages.append(page)
        made += 1
        if len(pages) == PAGES_A_FILE or made == num_pages:
            yield len(pages), pdf(*pages)
            pages = []
    if pages:
        yield len(pages), pdf(*pages)


def _measured(
    documents: list[str], num_pages: int, num_kills: int, directory: Path
) -> dict[str, Any]:
    from praxis.local.services import embedded_services

    with contextlib.ExitStack() as stack:
        database, cache = stack.enter_context(embedded_services(directory))
        key = "bench"
        port_file = directory / "model-server.log"
        os.environ |= {
            "DATABASE_URL": database,
            "REDIS_URL": cache,
            "PRAXIS_VAR": str(directory),
            "DJANGO_SETTINGS_MODULE": "praxis.settings",
            "LLM_API_KEY": key,
            KEY_VARIABLE: key,
            "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}",
            "CELERY_SKIP_CHECKS": "1",
        }
        url = stack.enter_context(_model_server(directory, port_file))
        os.environ["LLM_BASE_URL"] = os.environ["EMBEDDING_BASE_URL"] = url
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        (directory / "static").mkdir(exist_ok=True)
        bench = _Bench(documents, directory)
        stack.callback(bench.close)
        return bench.figures(num_pages, num_kills)


@contextlib.contextmanager
def _model_server(directory: Path, log: Path) -> Iterator[str]:
    import httpx

    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "modeling.inference.server", "--port", "0"),
                *("--models-dir", str(directory / "models")),
                *("--adapters-dir", str(directory / "adapters")),
                *("--api-key-env", KEY_VARIABLE),
            ],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and server.poll() is None:
            time.sleep(0.5)
            found = [line for line in log.read_text().splitlines() if "listening on" in line]
            if found:
                url = found[0].rsplit(" ", 1)[1]
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{url}/health").status_code == 200:
                        break
        else:
            raise RuntimeError(f"The model server did not start:\n{log.read_text()[-2000:]}")
        yield f"{url}/v1"
    finally:
        server.terminate()
        server.wait(30)


class _Worker:
    """The Celery worker of the queue `ingest`, as `manage.py up` starts it."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._output = log.open("ab")
        self.start()

    def start(self) -> None:
        code = (
            "import django; django.setup();"
            "from praxis.local.startup import num_readers, work_on;"
            "work_on('ingest', num_readers())"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def tree(self) -> list[Any]:
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def kill(self) -> None:
        """With -9, and everything that it started."""
        import psutil

        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._output.close()


class _Bench:
    def __init__(self, documents: list[str], directory: Path) -> None:
        from praxis.accounts.models import Workspace
        from praxis.knowledge.models import Corpus

        self._documents = documents
        workspace = Workspace.objects.create(name="Bench", slug="bench")
        self._pdfs = Corpus.objects.create(workspace=workspace, name="PDF")
        self._texts = Corpus.objects.create(workspace=workspace, name="Texts")
        self._worker = _Worker(directory / "worker.log")
        self._memory: list[float] = []
        self._question_ms: list[float] = []
        self._stop = threading.Event()
        self._watchers = [
            threading.Thread(target=work, daemon=True)
            for work in (self._watch_memory, self._ask_questions)
        ]

    def close(self) -> None:
        from django.db import connections

        self._stop.set()
        for thread in self._watchers:
            if thread.is_alive():
                thread.join()
        self._worker.close()
        connections.close_all()

    def figures(self, num_pages: int, num_kills: int) -> dict[str, Any]:
        from praxis.knowledge.services import add_document

        idle = [self._question_seconds() for _ in range(30)]
        # The first document finds nothing loaded yet; that is the start, not the speed.
        add_document(corpus=self._texts, title="", file_name="warm-up.md", content=b"Some words.")
        self._wait_for_all(num_kills=0)
        for thread in self._watchers:
            thread.start()
        files = list(_pdf_files(self._documents, num_pages))
        made = sum(number for number, _ in files)
        started = time.monotonic()
        for index, (_, content) in enumerate(files):
            add_document(corpus=self._pdfs, title="", file_name=f"{index:04}.pdf", content=content)
        self._wait_for_all(num_kills=0)
        pdf_seconds = time.monotonic() - started
        started = time.monotonic()
        for index, text in enumerate(self._documents):
            add_document(
                corpus=self._texts,
                title=f"{index:05}",
                file_name=f"{index:05}.md",
                content=_content(index, text),
            )
        self._wait_for_all(num_kills=num_kills)
        seconds = time.monotonic() - started
        lost, doubled, num_chunks = self._compared()
        quarter = max(len(self._memory) // 4, 1)
        return {
            "n": len(self._documents),
            "pages_per_s": round(made / pdf_seconds, 1) if made else None,
            "documents_per_s": round(len(self._documents) / seconds, 2),
            "documents_minutes": round(seconds / 60, 1),
            "chunks": num_chunks,
            "lost": lost,
            "doubled": doubled,
            "kills": num_kills,
            "rss_mb": round(max(self._memory)),
            "rss_growth_mb": round(
                statistics.median(self._memory[-quarter:])
                - statistics.median(self._memory[quarter : 2 * quarter] or self._memory)
            ),
            "question_idle_ms_p95": round(1000 * _p95(idle), 1),
            "question_ms_p95": round(1000 * _p95(self._question_ms), 1),
        }

    def _wait_for_all(self, *, num_kills: int) -> None:
        """Until no job is left; meanwhile the sweep, as beat would ring it, and the kills."""
        from praxis.jobs.models import TERMINAL_STATES, Job
        from praxis.jobs.sweeping import sweep

        total = Job.objects.exclude(state__in=TERMINAL_STATES).count()
        kill_at = [total * (kill + 1) // (num_kills + 1) for kill in range(num_kills)]
        swept_at = ended_at = time.monotonic()
        left_before = total
        while left := Job.objects.exclude(state__in=TERMINAL_STATES).count():
            if left != left_before:
                left_before, ended_at = left, time.monotonic()
            elif time.monotonic() - ended_at > STUCK_SECONDS:
                raise RuntimeError(
                    f"No document was finished for {STUCK_SECONDS} s, {left} of {total} are left. "
                    f"The worker's log ends:\n{self._worker.log.read_text()[-2000:]}"
                )
            if kill_at and total - left >= kill_at[0]:
                kill_at.pop(0)
                self._worker.kill()
                self._worker.start()
                print(f"killed at {total - left} documents", file=sys.stderr, flush=True)
            if time.monotonic() - swept_at > 15:
                sweep()
                swept_at = time.monotonic()
                print(f"{total - left} of {total} documents", file=sys.stderr, flush=True)
            time.sleep(0.2)

    def _compared(self) -> tuple[int, int, int]:
        """How many documents miss something, how many have something twice, and all chunks."""
        from praxis.knowledge.models import Chunk, DocumentVersion
        from praxis.knowledge.parsing.assembly import assemble
        from praxis.knowledge.parsing.markdown_text import read

        lost = doubled = 0
        versions = DocumentVersion.objects.filter(
            document__corpus=self._texts, state=DocumentVersion.State.READY
        ).exclude(file_name="warm-up.md")
        by_name: dict[str, list[Any]] = {}
        for version in versions.iterator(chunk_size=200):
            by_name.setdefault(version.file_name, []).append(version)
        for index, text in enumerate(self._documents):
            found = by_name.get(f"{index:05}.md", [])
            doubled += len(found) > 1
            if not found:
                lost += 1
                continue
            wanted = assemble(read(_content(index, text)))
            chunks = list(found[0].chunks.order_by("ordinal").values("ordinal", "start", "end"))
            ends = [chunk["end"] for chunk in chunks]
            starts = {chunk["start"] for chunk in chunks}
            body = [block for block in wanted.blocks if block[0] != "heading"]
            complete = (
                found[0].text == wanted.text
                and [chunk["ordinal"] for chunk in chunks] == list(range(len(chunks)))
                and max(ends, default=0) == max((block[2] for block in body), default=0)
            )
            lost += not complete
            doubled += len(starts) != len(chunks)
        return lost, doubled, Chunk.objects.count()

    def _watch_memory(self) -> None:
        import psutil

        # Not often: to read what a process uses, the kernel walks through all of its pages.
        while not self._stop.wait(10):
            used = 0
            for process in self._worker.tree():
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    used += process.memory_full_info().pss
            if used:
                self._memory.append(used / 1e6)

    def _ask_questions(self) -> None:
        while not self._stop.wait(0.5):
            self._question_ms.append(self._question_seconds())

    def _question_seconds(self) -> float:
        from praxis.assistants.language_model import embed

        started = time.perf_counter()
        embed(["What are the treatments for high blood pressure?"])
        return time.perf_counter() - started


def _content(index: int, text: str) -> bytes:
    """Some documents of the set are equal; with their number each has its own content."""
    return f"{text}\n\n{index}".encode()


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))] if seconds else 0.0
