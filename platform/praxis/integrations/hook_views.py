"""`POST /hooks/<channel>/<key>`: the door for messages from elsewhere."""

import asyncio

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from praxis.conversations.models import Message
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.streams import read_events
from praxis.integrations import channels
from praxis.integrations.answers import released
from praxis.integrations.models import InboundChannel

WAIT_SECONDS = 20
"""For the answer, where it goes into the response; senders usually give up after 30."""
BUSY_RETRY_SECONDS = 3


@csrf_exempt
@require_POST
async def hook(request: HttpRequest, channel: str, key: str) -> HttpResponse:
    """Raw bytes are verified before anything in them is read."""
    body = request.read(channels.LARGEST_BODY + 1)
    if len(body) > channels.LARGEST_BODY:
        return _problem(413, f"The body may have {channels.LARGEST_BODY:,} bytes.")
    message_id = request.headers.get("webhook-id", "")
    try:
        found = await released(channels.authenticate)(channel, key, dict(request.headers), body)
        received = await released(channels.receive)(
            found, message_id, body, address=request.META.get("REMOTE_ADDR")
        )
    except channels.NotSigned:
        return _problem(401, "Sign the request with the secret of this channel.")
    except channels.TooOften as refusal:
        return _problem(429, str(refusal), retry_after=refusal.retry_after)
    except channels.IdReused as refusal:
        return _problem(422, str(refusal))
    except MessageRefused as refusal:
        return _problem(422, str(refusal))
    except NotNow as refusal:
        return _problem(409, str(refusal), retry_after=BUSY_RETRY_SECONDS)
    said = received.said
    if _stands_in_response(found, said):
        said = await _finished(said)
    data = channels.received_to_dict(message_id, said)
    return JsonResponse(data, status=202 if data["reply"] is None else 200)


def _stands_in_response(channel: InboundChannel, said: Message) -> bool:
    return channel.endpoint is None and said.role == Message.Role.ASSISTANT


async def _finished(said: Message) -> Message:
    """The answer when it is complete, or as it is when the time is over."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            async for _event in read_events(said.pk):
                pass
    except TimeoutError:
        pass
    return await released(_load)(said)


def _load(said: Message) -> Message:
    return Message.objects.select_related("conversation").get(pk=said.pk)


def _problem(status: int, text: str, *, retry_after: int | None = None) -> JsonResponse:
    response = JsonResponse({"error": text}, status=status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response
