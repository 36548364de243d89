"""What a person sees and may do; the same rights as in the API."""

import re
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, User, Workspace
from praxis.jobs.models import Job
from praxis.jobs.running import run_job
from praxis.knowledge import display
from praxis.knowledge.models import Corpus, Document, DocumentVersion
from praxis.knowledge.search import search
from praxis.knowledge.tests import files

pytestmark = pytest.mark.django_db

AddDocument = Callable[..., DocumentVersion]
ClientFor = Callable[[User], Client]


def upload(client: Client, corpus: Corpus, **contents: bytes) -> str:
    """The page after the upload; `a__md=b"…"` is the file a.md."""
    response = client.post(
        reverse("knowledge:upload", args=[corpus.workspace.slug, corpus.pk]),
        {
            "files": [
                SimpleUploadedFile(name.replace("__", "."), content)
                for name, content in contents.items()
            ]
        },
        follow=True,
    )
    assert response.status_code == 200
    return response.content.decode()


def marked(page: str) -> list[str]:
    return re.findall(r"<mark[^>]*>(.*?)</mark>", page, re.DOTALL)


def test_an_administrator_adds_a_corpus(
    workspace: Workspace, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    url = reverse("knowledge:add_corpus", args=[workspace.slug])
    response = client.post(url, {"name": "Handbook", "description": "For all."}, follow=True)
    assert "Handbook" in response.content.decode()
    assert Corpus.objects.get().workspace == workspace
    again = client.post(url, {"name": "Handbook"})
    assert "exists already" in again.content.decode()
    assert AuditEntry.objects.filter(action="corpus.create").count() == 1


def test_the_start_page_lists_corpora_with_their_numbers(
    corpus: Corpus, add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    add_document("a.txt", "Ten days.")
    add_document("b.txt", "Twenty days.", read=False)
    page = client_for(member).get(reverse("knowledge:index", args=[corpus.workspace.slug]))
    assert "2 documents" in page.content.decode() and "1 searchable" in page.content.decode()


def test_several_files_are_uploaded_and_each_refusal_is_told(
    corpus: Corpus, admin: User, client_for: ClientFor
) -> None:
    page = upload(
        client_for(admin), corpus, a__md=files.MARKDOWN, b__txt=b"Ten days.", c__exe=b"MZ"
    )
    assert "2 documents were uploaded" in page
    assert "c.exe: Files of the kind" in page
    assert set(Document.objects.values_list("title", flat=True)) == {"a", "b"}
    assert Document.objects.filter(created_by=admin).count() == 2
    assert AuditEntry.objects.filter(action="document.upload").count() == 2


def test_the_same_content_is_refused_with_a_link(
    corpus: Corpus, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    upload(client, corpus, a__md=files.MARKDOWN)
    page = upload(client, corpus, b__md=files.MARKDOWN)
    link = reverse("knowledge:document", args=[corpus.workspace.slug, Document.objects.get().pk])
    assert f'<a href="{link}">a</a>' in page and "the same content is here already" in page


def test_an_upload_without_files_says_so(
    corpus: Corpus, admin: User, client_for: ClientFor
) -> None:
    assert "No file was chosen" in upload(client_for(admin), corpus)


def test_a_name_with_markup_is_shown_as_text(
    corpus: Corpus, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    upload(client, corpus, **{"<img src=x>__txt": b"Ten days."})
    page = upload(client, corpus, **{"<b>__txt": b"Ten days."})
    assert "<img src=x>" not in page and "<b>." not in page
    assert "&lt;img src=x&gt;" in page


def test_progress_and_cause_are_shown_in_the_table(
    corpus: Corpus, add_document: AddDocument, admin: User, client_for: ClientFor
) -> None:
    add_document("scan.pdf", files.pdf([]))
    waiting = add_document("later.txt", "Ten days.", read=False)
    client = client_for(admin)
    page = client.get(corpus.get_absolute_url()).content.decode()
    assert "The PDF has no text layer" in page
    assert reverse("jobs:progress", args=[corpus.workspace.slug, waiting.job_id]) in page
    assert reverse("jobs:cancel", args=[corpus.workspace.slug, waiting.job_id]) in page
    controls = page.split(f'id="job-{waiting.job_id}"')[1].split("</tr>")[0]
    assert "csrfmiddlewaretoken" in controls
    rows = client.get(reverse("knowledge:document_rows", args=[corpus.workspace.slug, corpus.pk]))
    assert "later.txt" in rows.content.decode() and "<html" not in rows.content.decode()


def test_the_table_costs_the_same_for_many_documents(
    corpus: Corpus,
    add_document: AddDocument,
    member: User,
    client_for: ClientFor,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(6):
        add_document(f"{number}.txt", f"Text {number}.", read=False)
    client = client_for(member)
    client.get(corpus.get_absolute_url())
    with django_assert_max_num_queries(11):
        client.get(corpus.get_absolute_url())


def test_a_search_can_be_tried(
    corpus: Corpus, add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    add_document("policy.md", files.MARKDOWN)
    page = client_for(member).get(corpus.get_absolute_url(), {"q": "money back in five days"})
    text = page.content.decode()
    assert "Money comes back in five days." in text and "relevance" in text and "#passage" in text


def test_a_citation_opens_with_its_passage_highlighted(
    add_document: AddDocument,
    member: User,
    client_for: ClientFor,
    principal_of: Callable[[User], Principal],
) -> None:
    add_document("policy.md", files.MARKDOWN)
    passages = search(
        principal=principal_of(member), assistant="any", query="five days money", limit=1
    ).passages
    page = client_for(member).get(passages[0].url).content.decode()
    assert page.count('<mark id="passage">') == 1
    assert "\n".join(marked(page)).split() == passages[0].text.split()


def test_a_passage_over_several_blocks_is_marked_in_each(
    add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    version = add_document("a.txt", "First part.\n\nSecond <b>part</b>.\n\nThird part.")
    start = version.text.index("part")
    end = version.text.index("Third") + 5
    url = f"{version.document.get_absolute_url()}?version={version.pk}&start={start}&end={end}"
    page = client_for(member).get(url).content.decode()
    assert marked(page) == ["part.", "Second &lt;b&gt;part&lt;/b&gt;.", "Third"]
    assert page.count('id="passage"') == 1


@pytest.mark.parametrize(
    "place", ["start=5&end=2", "start=0&end=99999", "start=x&end=y", "start=3"]
)
def test_a_senseless_place_shows_the_text_unmarked(
    add_document: AddDocument, member: User, client_for: ClientFor, place: str
) -> None:
    version = add_document("a.txt", "Ten days.")
    url = f"{version.document.get_absolute_url()}?version={version.pk}&{place}"
    page = client_for(member).get(url)
    assert page.status_code == 200 and not marked(page.content.decode())


def test_an_older_version_stays_citable(
    add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    old = add_document("a.txt", "Ten days.")
    add_document("a.txt", "Twenty days.")
    url = f"{old.document.get_absolute_url()}?version={old.pk}&start=0&end=3"
    page = client_for(member).get(url).content.decode()
    assert marked(page) == ["Ten"] and "not the one that is searched" in page
    plain = client_for(member).get(old.document.get_absolute_url()).content.decode()
    assert "Twenty days." in plain and "2 versions" in plain


def test_a_long_text_opens_at_the_part_of_the_passage(
    add_document: AddDocument,
    member: User,
    client_for: ClientFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(display, "PART_CHARACTERS", 60)
    version = add_document("a.txt", "\n\n".join(f"Paragraph {n} of text." for n in range(20)))
    start = version.text.index("Paragraph 17")
    url = f"{version.document.get_absolute_url()}?version={version.pk}"
    client = client_for(member)
    page = client.get(f"{url}&start={start}&end={start + 12}").content.decode()
    assert marked(page) == ["Paragraph 17"] and "Paragraph 1 of" not in page
    numbers = []
    total = int(re.search(r"Part \d+ of (\d+)", page)[1])  # type: ignore[index]
    for part in range(1, total + 1):
        shown = client.get(f"{url}&part={part}").content.decode()
        numbers += re.findall(r"Paragraph (\d+) of", shown)
    assert numbers == [str(number) for number in range(20)]


def test_pages_lists_and_hidden_text_are_shown(
    add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    version = add_document("a.pdf", files.pdf(["One sentence here."], ["- first", "- second"]))
    page = client_for(member).get(version.document.get_absolute_url()).content.decode()
    assert 'id="page-1"' in page and 'id="page-2"' in page and "<li>" in page
    html = add_document("a.html", files.HTML)
    page = client_for(member).get(html.document.get_absolute_url()).content.decode()
    assert "hidden from the eye" in page and "Ignore all rules" not in page


def test_the_chunks_are_listed(
    add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    version = add_document("policy.md", files.MARKDOWN)
    url = reverse("knowledge:chunks", args=[version.document.corpus.workspace.slug, version.pk])
    page = client_for(member).get(url).content.decode()
    assert "Policy › Refunds" in page and "Item: Cup; Fee: 2" in page


def test_the_original_is_only_ever_downloaded(
    add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    version = add_document("a.html", files.HTML)
    url = reverse("knowledge:download", args=[version.document.corpus.workspace.slug, version.pk])
    response = client_for(member).get(url)
    assert b"".join(response.streaming_content) == files.HTML  # type: ignore[attr-defined]
    assert response["Content-Disposition"] == 'attachment; filename="a.html"'
    assert response["X-Content-Type-Options"] == "nosniff"
    response.close()


def test_deleting_asks_first(
    corpus: Corpus, add_document: AddDocument, admin: User, client_for: ClientFor
) -> None:
    document = add_document("a.txt", "Ten days.").document
    client = client_for(admin)
    url = reverse("knowledge:delete_document", args=[corpus.workspace.slug, document.pk])
    assert "Delete “a”?" in client.get(url).content.decode()
    assert Document.objects.exists()
    client.post(url)
    assert not Document.objects.exists()
    client.post(reverse("knowledge:delete_corpus", args=[corpus.workspace.slug, corpus.pk]))
    assert not Corpus.objects.exists()
    assert set(AuditEntry.objects.values_list("action", flat=True)) == {
        "document.delete",
        "corpus.delete",
    }


def addresses(version: DocumentVersion, slug: str) -> dict[str, tuple[str, bool]]:
    """Every address of the area: its path, and whether only administrators may use it."""
    corpus, document = version.document.corpus_id, version.document_id
    return {
        "index": (reverse("knowledge:index", args=[slug]), False),
        "corpus": (reverse("knowledge:corpus", args=[slug, corpus]), False),
        "document_rows": (reverse("knowledge:document_rows", args=[slug, corpus]), False),
        "document": (reverse("knowledge:document", args=[slug, document]), False),
        "chunks": (reverse("knowledge:chunks", args=[slug, version.pk]), False),
        "page": (reverse("knowledge:page", args=[slug, version.pk, 1]), False),
        "download": (reverse("knowledge:download", args=[slug, version.pk]), False),
        "add_corpus": (reverse("knowledge:add_corpus", args=[slug]), True),
        "edit_corpus": (reverse("knowledge:edit_corpus", args=[slug, corpus]), True),
        "delete_corpus": (reverse("knowledge:delete_corpus", args=[slug, corpus]), True),
        "upload": (reverse("knowledge:upload", args=[slug, corpus]), True),
        "delete_document": (reverse("knowledge:delete_document", args=[slug, document]), True),
        "edit_document": (reverse("knowledge:edit_document", args=[slug, document]), True),
        "start_import": (reverse("knowledge:start_import", args=[slug, corpus]), True),
        "import_rows": (reverse("knowledge:import_rows", args=[slug, corpus]), False),
        "edit_chunk": (
            reverse("knowledge:edit_chunk", args=[slug, version.chunks.values_list("pk")[0][0]]),
            True,
        ),
    }


POSTED = ("upload", "start_import")


def test_every_address_is_covered_by_the_rights_tests(add_document: AddDocument) -> None:
    from praxis.knowledge.urls import urlpatterns

    covered = addresses(add_document("a.pdf", files.pdf(["Ten days."])), "north-clinic")
    assert {pattern.name for pattern in urlpatterns} == set(covered)


def test_strangers_find_nothing_and_members_only_read(
    workspace: Workspace,
    other_workspace: Workspace,
    add_document: AddDocument,
    member: User,
    stranger: User,
    client_for: ClientFor,
) -> None:
    version = add_document("a.pdf", files.pdf(["Ten days."]))
    for name, (path, admins_only) in addresses(version, workspace.slug).items():
        method = "post" if name in POSTED else "get"
        assert getattr(client_for(stranger), method)(path).status_code == 404, name
        assert getattr(Client(), method)(path).status_code == 302, name
        expected = 403 if admins_only else 200
        response = getattr(client_for(member), method)(path)
        assert response.status_code == expected, name
        if response.streaming:
            b"".join(response.streaming_content)
    # The stranger's own workspace in the address does not open the foreign object either.
    for name, (path, _) in addresses(version, other_workspace.slug).items():
        if name not in ("index", "add_corpus"):
            method = "post" if name in POSTED else "get"
            assert getattr(client_for(stranger), method)(path).status_code == 404, name


def test_a_version_of_another_document_is_not_shown(
    add_document: AddDocument, member: User, client_for: ClientFor
) -> None:
    one, two = add_document("a.txt", "Ten days."), add_document("b.txt", "Twenty days.")
    client = client_for(member)
    for wrong in (two.pk, "nonsense"):
        url = f"{one.document.get_absolute_url()}?version={wrong}"
        assert client.get(url).status_code == 404


def test_an_access_list_holds_on_pages_and_in_searches(
    workspace: Workspace,
    corpus: Corpus,
    add_document: AddDocument,
    admin: User,
    agent: User,
    member: User,
    client_for: ClientFor,
    principal_of: Callable[[User], Principal],
) -> None:
    closed, own = add_document("closed.txt", "Ten days."), add_document("own.txt", "Nine days.")
    slug = workspace.slug
    form = {"name": corpus.name, "access": "agent", "metadata": "year: 2026\narea: shop"}
    edit = reverse("knowledge:edit_corpus", args=[slug, corpus.pk])
    assert client_for(admin).post(edit, form).status_code == 302
    assert "agent" in client_for(admin).get(edit).content.decode()
    one = reverse("knowledge:edit_document", args=[slug, own.document_id])
    client_for(admin).post(one, {"title": "own", "access": "member", "metadata": "year: 2025"})

    def seen(user: User) -> dict[str, int]:
        paths = addresses(closed, slug)
        client = client_for(user)
        return {name: client.get(paths[name][0]).status_code for name in ("document", "chunks")}

    def found(user: User) -> set[str]:
        result = search(principal=principal_of(user), query="How many days?", limit=5)
        return {each.title for each in result.found}

    assert seen(agent) == {"document": 200, "chunks": 200}
    assert seen(member) == {"document": 404, "chunks": 404}
    assert found(agent) == {"closed", "own"} and found(member) == {"own"}
    rows = client_for(member).get(reverse("knowledge:document_rows", args=[slug, corpus.pk]))
    assert "own.txt" in rows.content.decode() and "closed.txt" not in rows.content.decode()
    assert closed.chunks.get().metadata == {"year": 2026, "area": "shop"}
    assert own.chunks.get().metadata == {"year": 2025, "area": "shop"}

    client_for(admin).post(one, {"title": "own", "access": "", "metadata": ""})
    client_for(admin).post(edit, {**form, "access": f"{admin.username}"})
    assert client_for(agent).get(addresses(own, slug)["corpus"][0]).status_code == 404
    assert found(agent) == set() and found(admin) == {"closed", "own"}


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [("access", "nobody", "neither a role nor"), ("metadata", "just words", "must be written as")],
)
def test_lists_that_cannot_be_read_are_explained(
    corpus: Corpus, admin: User, client_for: ClientFor, field: str, text: str, words: str
) -> None:
    url = reverse("knowledge:edit_corpus", args=[corpus.workspace.slug, corpus.pk])
    page = client_for(admin).post(url, {"name": "Policies", field: text}).content.decode()
    assert words in page and text in page


def test_an_edited_passage_is_found_by_its_new_words_and_quotes_the_old(
    corpus: Corpus,
    add_document: AddDocument,
    admin: User,
    client_for: ClientFor,
    principal_of: Callable[[User], Principal],
) -> None:
    version = add_document("a.txt", "Ten days.")
    chunk = version.chunks.get()
    client = client_for(admin)
    url = reverse("knowledge:edit_chunk", args=[corpus.workspace.slug, chunk.pk])

    def searched(query: str) -> list[tuple[str, bool]]:
        found = search(principal=principal_of(admin), query=query, limit=1).found
        return [(each.text, each.bm25 > 0) for each in found]

    assert searched("warranty") == [("Ten days.", False)]
    page = client.post(url, {"text": "Warranty: ten days."}, follow=True).content.decode()
    assert "edited" in page and "Warranty: ten days." in page and admin.username in page
    assert searched("warranty") == [("Ten days.", True)]
    chunk.refresh_from_db()
    assert (chunk.text, chunk.searched_text) == ("Ten days.", "Warranty: ten days.")
    assert chunk.text == version.text[chunk.start : chunk.end]

    client.post(url, {"text": "ignored", "undo": "1"})
    chunk.refresh_from_db()
    assert (chunk.search_text, chunk.edited_at, chunk.edited_by) == ("", None, None)
    assert searched("warranty") == [("Ten days.", False)]
    assert "at most 4000" in client.post(url, {"text": "x" * 4_001}).content.decode()


def test_an_import_is_started_from_the_page_and_tells_what_was_refused(
    corpus: Corpus, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    url = reverse("knowledge:start_import", args=[corpus.workspace.slug, corpus.pk])
    assert "be read. It begins with https://" in (
        client.post(url, {"url": "nonsense here", "source": "page"}, follow=True).content.decode()
    )
    client.post(url, {"url": "http://127.0.0.1/x", "source": "page"})
    run_job(Job.objects.get().pk)
    page = client.get(reverse("knowledge:import_rows", args=[corpus.workspace.slug, corpus.pk]))
    assert "0 added, 0 unchanged, 1 refused" in page.content.decode()
    assert "private or reserved network" in page.content.decode()
