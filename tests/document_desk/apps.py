from django.apps import AppConfig


class DocumentDeskConfig(AppConfig):
    """An assistant that answers from documents in the model's words only, for tests and benches."""

    name = "tests.document_desk"
    label = "document_desk"
    assistant = "tests.document_desk.assistant.ASSISTANT"
