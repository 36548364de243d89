"""Who may see and change what belongs to fine-tuning: administrators of the workspace, nobody else.

Strangers get 404, members of a lower role 403. Pages and API use the same functions.
"""

from uuid import UUID

from django.shortcuts import get_object_or_404

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.knowledge.models import Encoder
from praxis.tuning.models import Adapter, Dataset, DatasetVersion, TuningRun


def get_dataset(principal: Principal, dataset_id: UUID) -> Dataset:
    dataset = get_object_or_404(
        Dataset.objects.select_related("workspace"), workspace=principal.workspace, pk=dataset_id
    )
    principal.require(Role.ADMIN)
    return dataset


def get_version(principal: Principal, version_id: UUID) -> DatasetVersion:
    version = get_object_or_404(
        DatasetVersion.objects.select_related("dataset__workspace", "job"),
        dataset__workspace=principal.workspace,
        pk=version_id,
    )
    principal.require(Role.ADMIN)
    return version


def get_run(principal: Principal, run_id: UUID) -> TuningRun:
    run = get_object_or_404(
        TuningRun.objects.select_related(
            "workspace", "job", "dataset_version__dataset", "created_by", "adapter"
        ),
        workspace=principal.workspace,
        pk=run_id,
    )
    principal.require(Role.ADMIN)
    return run


def get_adapter(principal: Principal, adapter_id: UUID) -> Adapter:
    adapter = get_object_or_404(
        Adapter.objects.select_related("workspace", "run__dataset_version__dataset"),
        workspace=principal.workspace,
        pk=adapter_id,
    )
    principal.require(Role.ADMIN)
    return adapter


def get_encoder(principal: Principal, encoder_id: UUID) -> Encoder:
    encoder = get_object_or_404(
        Encoder.objects.select_related("workspace", "job", "indexing", "created_by"),
        workspace=principal.workspace,
        pk=encoder_id,
    )
    principal.require(Role.ADMIN)
    return encoder
