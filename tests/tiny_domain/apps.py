"""A fourth domain: this folder and one settings line (`PRAXIS_DOMAIN_APPS`) are all it takes."""

from django.apps import AppConfig


class TinyDomainConfig(AppConfig):
    name = "tests.tiny_domain"
    label = "tiny_domain"
    assistant = "tests.tiny_domain.assistant.ASSISTANT"
