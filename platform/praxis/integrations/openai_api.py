"""The OpenAI-compatible API under /v1/."""

from ninja import NinjaAPI

openai_api = NinjaAPI(title="Praxis, OpenAI-compatible", version="1.0", urls_namespace="openai")
