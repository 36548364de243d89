"""Uploading conversations and reading what is wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from modeling.training.tests.conftest import conversation
from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.assistants.contract import Assistant
from praxis.conversations.models import Conversation, Feedback, Message
from praxis.jobs.models import JobState
from praxis.jobs.running import run_job
from praxis.tuning import datasets
from praxis.tuning.models import DatasetVersion
from praxis.tuning.tests.conftest import SLUG, jsonl

ClientFor = Callable[[User], Client]


def upload(client: Client, workspace: Workspace, lines: list[Any], name: str = "talk") -> Any:
    return client.post(
        reverse("tuning:upload", args=[workspace.slug]),
        {"name": name, "file": jsonl(lines)},
        follow=True,
    )


def test_the_bad_line_17_is_shown_as_line_17(
    admin: User, client_for: ClientFor, workspace: Workspace
) -> None:
    lines: list[Any] = [conversation(seed) for seed in range(30)]
    lines[16] = '{"messages": [{"role": "user", "content": "where is <b>my</b> order"\n'
    page = upload(client_for(admin), workspace, lines)

    assert page.status_code == 200
    text = page.content.decode()
    assert 'id="line-17"' in text
    assert "Not valid JSON" in text
    assert "where is &lt;b&gt;my&lt;/b&gt; order" in text
    assert "29 of 30 lines are usable" in text
    version = DatasetVersion.objects.get()
    assert (version.state, version.rows, version.usable_rows) == ("ready", 30, 29)
    assert [problem["line"] for problem in version.report["problems"]] == [17]


def test_the_usable_lines_are_downloaded_and_trained_on(
    admin: User, client_for: ClientFor, workspace: Workspace, tmp_path: Path
) -> None:
    good = [conversation(seed) for seed in range(3)]
    client = client_for(admin)
    upload(client, workspace, [good[0], "nonsense\n", good[1], '{"messages": []}\n', good[2]])
    version = DatasetVersion.objects.get()

    response = client.get(reverse("tuning:usable_lines", args=[workspace.slug, version.pk]))
    lines = response.getvalue().decode().splitlines()
    assert [json.loads(line) for line in lines] == good
    assert response["Content-Disposition"].startswith("attachment")

    datasets.write_usable_lines(version, tmp_path / "data.jsonl")
    assert [json.loads(line) for line in (tmp_path / "data.jsonl").open()] == good


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (["\x00\x01\x02 binary \x03\n"], "None of the 1 lines can be used"),
        ([json.dumps([conversation(1), conversation(2)])], "each line must be an object"),
        (["question,answer\n", "why,because\n"], "first on line 1"),
    ],
)
def test_a_file_without_a_usable_line_gets_one_clear_sentence(
    admin: User, client_for: ClientFor, workspace: Workspace, content: list[Any], sentence: str
) -> None:
    page = upload(client_for(admin), workspace, content)
    assert sentence in page.content.decode()
    version = DatasetVersion.objects.get()
    assert version.state == "unusable"
    with override("zh-hans"):
        assert "行均不可用" in datasets.why_unusable(version), (
            "whatever the one who uploaded it speaks"
        )
    assert reverse("tuning:usable_lines", args=[workspace.slug, version.pk]) not in str(
        page.content
    )


def test_an_empty_file_is_refused(admin: User, client_for: ClientFor, workspace: Workspace) -> None:
    page = upload(client_for(admin), workspace, [])
    assert page.status_code == 400
    assert "is empty" in page.content.decode()
    assert not DatasetVersion.objects.exists()


def test_the_same_name_makes_the_next_version_and_the_same_file_is_refused(
    admin: User, client_for: ClientFor, workspace: Workspace
) -> None:
    client = client_for(admin)
    upload(client, workspace, [conversation(1)])
    upload(client, workspace, [conversation(2)])
    page = upload(client, workspace, [conversation(2)])
    assert "same file as version 2 of talk" in page.content.decode()
    assert sorted(DatasetVersion.objects.values_list("number", flat=True)) == [1, 2]


def test_a_large_file_is_examined_by_a_job_which_may_run_twice(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "EXAMINED_AT_ONCE_BYTES", 10)
    version = datasets.store_upload(
        principal=principal, name="large", file=jsonl([conversation(1), "x\n", conversation(2)])
    )
    assert (version.state, version.rows) == ("examining", 0)
    assert version.job is not None

    assert run_job(version.job.pk)
    version.refresh_from_db()
    version.job.refresh_from_db()
    assert (version.state, version.usable_rows, version.rows) == ("ready", 2, 3)
    assert version.job.state == JobState.SUCCEEDED

    before = version.usable_file.name
    tokenizer = datasets.ready_tokenizer()
    assert tokenizer is not None
    datasets.examine(version, tokenizer)
    assert version.usable_file.name == before


def test_only_the_first_thousand_problems_are_kept_and_all_are_counted(
    principal: Principal,
) -> None:
    version = datasets.store_upload(
        principal=principal, name="bad", file=jsonl(["x\n"] * 1500 + [conversation(1)])
    )
    assert len(version.report["problems"]) == 1000
    assert version.report["codes"]["invalid_json"] == 1500
    assert version.report["problems_left_out"] == 500
    assert (version.usable_rows, version.rows) == (1, 1501)


def test_the_histogram_counts_every_usable_line(principal: Principal) -> None:
    version = datasets.store_upload(
        principal=principal,
        name="lengths",
        file=jsonl([conversation(seed, turns=1 + 8 * (seed % 2)) for seed in range(10)]),
    )
    rows = datasets.histogram_for_people(version.report)
    assert sum(row["count"] for row in rows) == 10
    assert max(row["width"] for row in rows) == 100
    assert datasets.longer_than(version, 64) == 5


def test_corrections_become_a_data_set(
    principal: Principal, workspace: Workspace, member: User, agent: User, assistant: Assistant
) -> None:
    talk = Conversation.objects.create(workspace=workspace, assistant=SLUG, person=member)

    def say(parent: Message | None, role: str, text: str) -> Message:
        from django.utils import timezone

        return Message.objects.create(
            conversation=talk, parent=parent, role=role, text=text, finished_at=timezone.now()
        )

    hello = say(say(None, "user", "hello"), "assistant", "Hi.")
    answer = say(say(hello, "user", "can I return it?"), "assistant", "No.")
    other = say(say(hello, "user", "where is it?"), "assistant", "Here.")
    say(answer, "user", "later message that must not be learnt")
    Feedback.objects.create(
        message=answer, author=member, thumb="down", correction="Ask us.", review="open"
    )
    Feedback.objects.create(
        message=answer, author=agent, thumb="down", correction="Yes, 30 days.", review="accepted"
    )
    Feedback.objects.create(
        message=other, author=member, thumb="down", correction="wrong", review="rejected"
    )
    Feedback.objects.create(message=other, author=agent, thumb="up")

    version = datasets.store_corrections(
        principal=principal, name="corrected", assistant=SLUG, reviewed_only=False
    )
    assert version.state == "ready"
    [line] = [json.loads(text) for text in version.file.open()]
    assert line["messages"] == [
        {"role": "system", "content": assistant.instructions},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hi.", "weight": 0},
        {"role": "user", "content": "can I return it?"},
        {"role": "assistant", "content": "Yes, 30 days.", "weight": 1},
    ]


def test_no_corrections_is_said(principal: Principal) -> None:
    with pytest.raises(datasets.DatasetRefused, match="Nobody has corrected"):
        datasets.store_corrections(
            principal=principal, name="none", assistant=SLUG, reviewed_only=False
        )
