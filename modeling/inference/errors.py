"""Errors in the shape that OpenAI's clients read."""

from typing import Any

from starlette.responses import JSONResponse


class ApiError(Exception):
    """An answer to the caller: HTTP status, type and text, and which field is at fault."""

    def __init__(
        self,
        status: int,
        type_: str,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        headers = {}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def invalid_request(
    message: str, *, param: str | None = None, code: str | None = None, status: int = 400
) -> ApiError:
    return ApiError(status, "invalid_request_error", message, param=param, code=code)


def engine_unavailable(message: str) -> ApiError:
    return ApiError(
        503,
        "engine_unavailable",
        message,
        code="engine_unavailable",
        retry_after_seconds=2,
    )


def model_not_found(name: str, available: list[str]) -> ApiError:
    return ApiError(
        404,
        "invalid_request_error",
        f"The model {name!r} does not exist; available here: {', '.join(available)}",
        param="model",
        code="model_not_found",
    )
