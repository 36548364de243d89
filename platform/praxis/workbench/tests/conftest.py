"""A shop's documents, and an administrator who tries searches on them."""

from collections.abc import Callable

import pytest
from django.test import Client

from praxis.accounts.models import User, Workspace
from praxis.knowledge.models import DocumentVersion
from praxis.knowledge.tests.conftest import AddDocument
from praxis.knowledge.tests.conftest import _files_of_this_test as _files_of_this_test
from praxis.knowledge.tests.conftest import add_document as add_document
from praxis.knowledge.tests.conftest import corpus as corpus

SHOP = """# Delivery

Parcels travel two working days inside the country and five abroad.

# Returns

Unopened goods may be returned within thirty days after delivery.

# Warranty

The kettle has a warranty of three years.
"""


@pytest.fixture
def shop(add_document: AddDocument) -> DocumentVersion:
    return add_document("shop.md", SHOP)


@pytest.fixture
def browser(workspace: Workspace, admin: User, client_for: Callable[[User], Client]) -> Client:
    return client_for(admin)
