"""The launch form, the dashboard and the page of a run."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from modeling.training.recipe import EXPERT_PARAMETERS
from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.jobs.models import Job, JobMetric, JobState
from praxis.tuning.models import Adapter, DatasetVersion, TuningRun
from praxis.tuning.runs import Choices, LaunchRefused, files_of, launch, recipe_of
from praxis.tuning.tests.conftest import SLUG

MakeRun = Callable[..., TuningRun]


@pytest.fixture
def client(admin: User, client_for: Callable[[User], Client]) -> Client:
    return client_for(admin)


def entries(version: DatasetVersion, **changes: Any) -> dict[str, Any]:
    return {
        "dataset_version": version.pk,
        "assistant": SLUG,
        "name": "refunds",
        "rank": 16,
        "alpha": 32,
        "epochs": 3,
        "steps": "",
        "learning_rate": 0.0002,
        "schedule": "cosine",
        "max_tokens": 1024,
        "evaluation_share": 0.05,
        **changes,
    }


def test_launching_makes_the_run_and_its_job(
    client: Client, workspace: Workspace, version: DatasetVersion
) -> None:
    page = client.post(
        reverse("tuning:launch", args=[workspace.slug]), entries(version), follow=True
    )
    run = TuningRun.objects.get()
    assert page.redirect_chain[-1][0] == run.get_absolute_url()
    assert run.job.kind == "tuning.train"
    assert (run.job.queue, run.job.max_attempts) == ("tuning", 3)
    assert run.recipe["rank"] == 16
    text = page.content.decode()
    assert "data-loss-chart" in text
    assert reverse("jobs:cancel", args=[workspace.slug, run.job_id]) in text


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "Refunds!", "lower-case letters"),
        ("rank", 0, "greater than or equal to 1"),
        ("learning_rate", 5, "less than or equal to 0.1"),
        ("dataset_version", "6f1c6f0e-0000-4000-8000-000000000000", "valid choice"),
    ],
)
def test_a_wrong_value_is_named_beside_its_field(
    client: Client,
    workspace: Workspace,
    version: DatasetVersion,
    field: str,
    value: object,
    said: str,
) -> None:
    page = client.post(
        reverse("tuning:launch", args=[workspace.slug]), entries(version, **{field: value})
    )
    assert page.status_code == 400
    assert said in page.content.decode()
    assert not TuningRun.objects.exists()
    assert not Job.objects.filter(kind="tuning.train").exists()


def test_only_a_mixture_offers_its_experts(
    client: Client,
    principal: Principal,
    workspace: Workspace,
    version: DatasetVersion,
    settings: Settings,
) -> None:
    address = reverse("tuning:launch", args=[workspace.slug])
    assert 'name="experts"' not in client.get(address).content.decode()
    choices = Choices(experts=True)
    with pytest.raises(LaunchRefused, match="no routed experts"):
        launch(principal=principal, version=version, assistant=SLUG, name="dense", choices=choices)

    settings.LLM_MODEL, settings.TRAINING_BASE = "mix-135m", ""
    folder = settings.VAR_DIR / "models" / settings.LLM_MODEL
    folder.mkdir(parents=True)
    (folder / "MANIFEST.json").write_text('{"files": {}, "model": "mix-135m", "top_k": 2}')
    assert 'name="experts"' in client.get(address).content.decode()
    client.post(address, entries(version, experts="on"))
    run = TuningRun.objects.get()
    recipe = recipe_of(Choices(**run.recipe), model_path="m", data_path="d", output_dir="o")
    assert recipe.lora.target_parameters == EXPERT_PARAMETERS
    assert "experts too" in client.get(run.get_absolute_url()).content.decode()


def test_a_name_is_used_once(
    client: Client, workspace: Workspace, version: DatasetVersion, make_run: MakeRun
) -> None:
    make_run("refunds")
    page = client.post(reverse("tuning:launch", args=[workspace.slug]), entries(version))
    assert "exists already" in page.content.decode()
    assert TuningRun.objects.count() == 1


def test_the_estimate_comes_from_the_speed_of_the_last_run(
    client: Client,
    workspace: Workspace,
    version: DatasetVersion,
    make_run: MakeRun,
    settings: Any,
) -> None:
    address = reverse("tuning:launch", args=[workspace.slug])
    asked = entries(version, estimate="1", epochs=2)
    assert "no estimate" in client.post(address, asked).content.decode()

    run = make_run("measured")
    Adapter.objects.create(
        workspace=workspace,
        name=run.adapter_name,
        run=run,
        directory=run.adapter_name,
        base_model=settings.LLM_MODEL,
        size=1,
        figures={"tokens_per_second": version.tokens / 50},
    )
    assert "About 0:01:40" in client.post(address, asked).content.decode()
    assert not TuningRun.objects.filter(name="refunds").exists()


def test_the_chart_gets_only_what_is_new(
    client: Client, workspace: Workspace, make_run: MakeRun
) -> None:
    run = make_run()
    JobMetric.objects.bulk_create(
        JobMetric(job_id=run.job_id, step=step, values={"loss": 3 - step / 10})
        for step in range(1, 6)
    )
    Job.objects.filter(pk=run.job_id).update(total=10, done=5)
    address = reverse("tuning:run_metrics", args=[workspace.slug, run.pk])
    answer = client.get(address, {"after": 3}).json()
    assert [point["step"] for point in answer["points"]] == [4, 5]
    assert (answer["steps"], answer["finished"], answer["more"]) == (10, False, False)
    assert client.get(address, {"after": "x"}).status_code == 400


def test_the_status_renews_itself_until_the_end(
    client: Client, workspace: Workspace, make_run: MakeRun
) -> None:
    from django.utils import timezone

    run = make_run()
    JobMetric.objects.create(
        job_id=run.job_id, step=1, values={"loss": 2.5, "tokens_per_second": 431.7}
    )
    address = reverse("tuning:run_status", args=[workspace.slug, run.pk])
    going_on = client.get(address).content.decode()
    assert "hx-trigger" in going_on
    assert "2.500" in going_on
    assert "432" in going_on
    Job.objects.filter(pk=run.job_id).update(
        state=JobState.FAILED, finished_at=timezone.now(), message="It failed."
    )
    assert "hx-trigger" not in client.get(address).content.decode()


def test_the_log_shows_its_last_200_lines(
    client: Client, workspace: Workspace, make_run: MakeRun
) -> None:
    run = make_run()
    files = files_of(run)
    files.directory.mkdir(parents=True)
    files.log.write_text("".join(f"line <{number}>\n" for number in range(500)))
    page = client.get(reverse("tuning:run_log", args=[workspace.slug, run.pk])).content.decode()
    assert "line &lt;499&gt;" in page
    assert "line &lt;300&gt;" in page
    assert "line &lt;299&gt;" not in page


def test_the_dashboard_asks_as_often_for_many_runs_as_for_one(
    client: Client,
    workspace: Workspace,
    make_run: MakeRun,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(6):
        run = make_run(f"run-{number}")
        JobMetric.objects.create(job_id=run.job_id, step=1, values={"loss": 2.0 + number})
    with django_assert_max_num_queries(15):
        page = client.get(reverse("tuning:index", args=[workspace.slug])).content.decode()
    assert "7.000" in page
    assert page.count('scope="row"') == 6
