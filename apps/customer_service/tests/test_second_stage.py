"""The second stage of intents: trained for a workspace, used if it is better, and given up again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.template.defaultfilters import floatformat
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from apps.customer_service import second_stage
from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.intents import IntentIndex, rank
from apps.customer_service.models import IntentModel, ServiceDefinition, save_version
from apps.customer_service.schema import parse_service
from modeling.intents.head import IntentHead
from modeling.retrieval.tests.conftest import tiny_encoder
from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import run_job
from praxis.jobs.services import request_cancel
from tests.fakes import ModelServer, embed

__all__ = ["tiny_encoder"]

# The jobs beat their heart from another thread, which sees committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

FRAMES = (
    "how much is the {}", "may i {}", "{} please", "does the {} cost", "cancel {}", "a {} what",
    "for two {}", "the {} within days", "is the {} long", "customer {}",
)  # fmt: skip
WORDS_OF = {
    "delivery": ("parcel", "package", "delivery", "send"),
    "repair": ("broken", "repair", "warranty", "kettle"),
    "look": ("colour", "shade", "bulb", "light"),
}


def definition(**samples: list[str]) -> dict[str, Any]:
    return {
        "name": "desk",
        "title": "Desk",
        "description": "A desk.",
        "slots": [],
        "intents": [
            {"name": name, "title": name, "description": f"About {name}", "samples": texts}
            for name, texts in samples.items()
        ],
    }


@pytest.fixture
def desk(workspace: Workspace) -> ServiceDefinition:
    samples = {
        name: [frame.format(word) for word in words for frame in FRAMES]
        for name, words in WORDS_OF.items()
    }
    made = save_version(
        workspace=workspace,
        definition=definition(**samples),
        base_url="https://desk.example.com",
        secret=None,
        created_by=None,
    )
    made.publish()
    return made


@pytest.fixture
def principal(workspace: Workspace, admin: User) -> Principal:
    return Principal(workspace=workspace, role=Role.ADMIN, user=admin)


@pytest.fixture(autouse=True)
def _tiny_base(settings: Any, tiny_encoder: Path, tmp_path: Path) -> None:
    settings.ENCODER_FOLDER = str(tiny_encoder)
    settings.VAR_DIR = tmp_path


def trained(principal: Principal, *, in_use: bool = True) -> IntentModel:
    """As its training leaves it, but for the weights of the encoder, which only the server needs."""
    from django.conf import settings

    model = IntentModel.objects.create(
        workspace=principal.workspace,
        base=settings.EMBEDDING_MODEL,
        sha256="0" * 64,
        in_use=in_use,
        result={
            "samples": 120, "held_out": 24,
            "before": {"accuracy": 0.8, "log_loss": 0.5},
            "after": {"accuracy": 0.9, "log_loss": 0.4},
        },
    )  # fmt: skip
    folder = second_stage.directory_of(model)
    folder.mkdir(parents=True)
    labels = ("desk delivery", "desk look", "desk repair")
    words = ["parcel", "shade", "warranty"]
    weights = np.array([embed(word, by=model.served_name) for word in words], dtype=np.float32)
    IntentHead(labels, 20 * weights, np.zeros(3, np.float32)).save_in(folder)
    return model


def test_it_is_trained_on_the_samples_judged_and_served(
    workspace: Workspace,
    admin: User,
    client_for: Callable[[User], Client],
    desk: ServiceDefinition,
    model_server: ModelServer,
) -> None:
    client = client_for(admin)
    services = reverse("customer_service:services", args=[workspace.slug])
    assert "Train it" in client.get(services).content.decode()
    train = reverse("customer_service:intents_train", args=[workspace.slug])
    assert client.post(train).url == f"{services}#second-stages"  # type: ignore[attr-defined]
    page = client.post(train, follow=True).content.decode()
    assert "It is being trained already." in page and "Train it" not in page
    model = IntentModel.objects.select_related("workspace").get()
    model_server.encoders.add(model.served_name)
    assert model.job_id is not None and run_job(model.job_id)
    job = Job.objects.get(pk=model.job_id)
    assert (job.state, job.message) == (JobState.SUCCEEDED, "")
    model = IntentModel.objects.select_related("workspace").get()
    assert model.result["samples"] == 126 and model.result["intents"] == 3
    # Four tokens of forty and three of the titles and descriptions.
    assert model.result["held_out"] == 24
    assert model.in_use == model.was_better
    head = IntentHead.load_from(second_stage.directory_of(model))
    assert head.labels == ("desk delivery", "desk look", "desk repair")
    assert not second_stage.files_of(model).directory.exists()
    right = floatformat(100 * model.result["after"]["accuracy"], 1)
    assert f"{right} %" in client.get(services).content.decode()


def test_too_few_samples_are_refused_in_a_sentence(
    principal: Principal, workspace: Workspace, model_server: ModelServer
) -> None:
    save_version(
        workspace=workspace, definition=SHOP, base_url="https://shop.example.com", secret=None,
        created_by=None,
    ).publish()  # fmt: skip
    samples = second_stage.samples_of(str(workspace.pk))
    assert {sample["intent"].split()[0] for sample in samples} == {"shop"}
    workspace.service_definitions.update(definition=definition(delivery=["send"], look=["shade"]))
    with pytest.raises(second_stage.SecondStageRefused, match="which makes 2 here, and 20 are"):
        second_stage.launch(principal=principal)
    assert not IntentModel.objects.exists()


def test_samples_that_become_too_few_while_it_waits_fail_it_in_a_sentence(
    principal: Principal, workspace: Workspace, desk: ServiceDefinition
) -> None:
    whole = desk.definition
    model = second_stage.launch(principal=principal)
    workspace.service_definitions.update(definition=definition(delivery=["send"], look=["shade"]))
    assert model.job_id is not None
    run_job(model.job_id)
    job = Job.objects.get(pk=model.job_id)
    assert job.state == JobState.FAILED and "too few samples in English" in str(job.reason)
    with override("zh-hans"):
        assert "英文例句太少" in str(job.reason)
    assert IntentModel.objects.get().state == "failed"
    # One that came to nothing makes way for the next.
    workspace.service_definitions.update(definition=whole)
    assert second_stage.launch(principal=principal).pk != model.pk
    assert IntentModel.objects.count() == 1


def test_a_cancelled_one_makes_way_for_the_next(
    principal: Principal, desk: ServiceDefinition
) -> None:
    model = second_stage.launch(principal=principal)
    assert model.job is not None
    request_cancel(model.job)
    assert second_stage.launch(principal=principal).job_id != model.job_id


def test_another_embedding_model_is_not_tuned(principal: Principal, settings: Any) -> None:
    settings.ENCODER_FOLDER = ""
    settings.EMBEDDING_MODEL = "another"
    with pytest.raises(second_stage.SecondStageRefused, match="PRAXIS_ENCODER"):
        second_stage.launch(principal=principal)


# In use -------------------------------------------------------------------------------------------


@pytest.fixture
def stage(principal: Principal, model_server: ModelServer) -> Iterator[second_stage.SecondStage]:
    model = trained(principal)
    model_server.encoders.add(model.served_name)
    found = second_stage.in_use(str(principal.workspace.pk))
    assert found is not None
    yield found


UNSURE = {"delivery": 0.4, "repair": 0.35, "look": 0.25}


def named(intent: str) -> str:
    return f"desk {intent}"


def test_it_decides_with_the_first_stage(stage: second_stage.SecondStage) -> None:
    both = stage.look_again("warranty", UNSURE, named)
    assert next(iter(both)) == "repair" and both["repair"] > 0.65
    assert sum(both.values()) == pytest.approx(1)


def test_the_first_stage_stands_alone_for_an_intent_that_was_added_since(
    stage: second_stage.SecondStage,
) -> None:
    first = {**UNSURE, "added": 0.0}
    assert stage.look_again("warranty", first, named) == first


def test_the_first_stage_stands_alone_while_the_encoder_is_not_served(
    stage: second_stage.SecondStage, model_server: ModelServer
) -> None:
    model_server.encoders.clear()
    assert stage.look_again("warranty", UNSURE, named) == UNSURE


def test_it_is_asked_for_unsure_messages_only(stage: second_stage.SecondStage) -> None:
    service = parse_service(definition(delivery=["parcel"], repair=["repair"], look=["shade"]))
    index = IntentIndex.of(service)
    asked: list[str] = []

    def second(text: str, first: Any) -> Any:
        asked.append(text)
        return {"repair": 0.9, "delivery": 0.1}

    def vectors(texts: Any) -> list[list[float]]:
        return [embed(text) for text in texts]

    sure = rank(index, "parcel", embed=vectors, second=second)
    unsure = rank(index, "repair the parcel", embed=vectors, second=second)
    assert (sure.decided, asked) == ("delivery", ["repair the parcel"])
    assert (unsure.decided, unsure.confidence) == ("repair", 0.9)


def test_a_stage_of_another_base_or_without_files_is_left_out(
    principal: Principal, settings: Any
) -> None:
    model = trained(principal)
    workspace_id = str(principal.workspace.pk)
    base, settings.EMBEDDING_MODEL = settings.EMBEDDING_MODEL, "another"
    assert second_stage.in_use(workspace_id) is None
    settings.EMBEDDING_MODEL = base
    assert second_stage.in_use(workspace_id) is not None
    second_stage.directory_of(model).rename(settings.VAR_DIR / "gone")
    assert second_stage.in_use(workspace_id) is None


# Going over and back ------------------------------------------------------------------------------


def test_it_is_used_only_if_it_was_better() -> None:
    def was_better(before: tuple[float, float], after: tuple[float, float]) -> bool:
        result = {
            name: {"accuracy": accuracy, "log_loss": loss}
            for name, (accuracy, loss) in (("before", before), ("after", after))
        }
        return IntentModel(result=result).was_better

    assert was_better((0.9, 0.3), (0.92, 0.4))
    assert was_better((0.9, 0.3), (0.9, 0.2))
    assert not was_better((0.9, 0.3), (0.9, 0.3))
    assert not was_better((0.9, 0.3), (0.89, 0.1))


def test_an_administrator_goes_back_to_an_earlier_one_or_to_none(
    principal: Principal,
    desk: ServiceDefinition,
    admin: User,
    agent: User,
    stranger: User,
    client_for: Callable[[User], Client],
) -> None:
    earlier, newer = trained(principal, in_use=False), trained(principal)
    address = reverse("customer_service:intents_use", args=[principal.workspace.slug])
    client = client_for(admin)

    def used() -> list[IntentModel]:
        return list(IntentModel.objects.filter(in_use=True))

    client.post(address, {"model": str(earlier.pk)})
    assert used() == [earlier]
    client.post(address)
    assert used() == []
    assert client.post(address, {"model": "none"}).status_code == 404
    assert client_for(agent).post(address, {"model": str(newer.pk)}).status_code == 403
    assert client_for(stranger).post(address, {"model": str(newer.pk)}).status_code == 404
    assert used() == []


def test_older_ones_go_with_their_files_but_never_the_one_in_use(principal: Principal) -> None:
    used = trained(principal)
    others = [trained(principal, in_use=False) for _ in range(3)]
    second_stage.forget_all_but(2, str(principal.workspace.pk))
    assert set(IntentModel.objects.all()) == {used, *others[1:]}
    assert not second_stage.directory_of(others[0]).exists()
    assert second_stage.directory_of(used).is_dir()


def test_a_job_that_is_done_again_changes_nothing(
    principal: Principal, desk: ServiceDefinition
) -> None:
    model = second_stage.launch(principal=principal)
    IntentModel.objects.filter(pk=model.pk).update(sha256="1" * 64)
    assert model.job_id is not None and run_job(model.job_id)
    assert IntentModel.objects.get().result == {}
