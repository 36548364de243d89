"""The REST API under /api/v1/; every router takes a `Principal` as `request.auth`."""

from ninja import NinjaAPI

api = NinjaAPI(title="Praxis", version="1", urls_namespace="api")
