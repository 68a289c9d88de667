"""Requests to an account, and what comes of each: an answer, a refusal, or nothing that anybody knows."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from mmkit.accounts import AccountClient, FateUnknown, Refusal, Refused
from mmkit.clock import Clock
from mmkit.errors import MmkitError
from mmkit.live.handler import OrderHandler
from mmkit.live.pace import FOR_NOW
from mmkit.live.requests import (
    Amend,
    AskFills,
    AskFundings,
    AskOpen,
    AskOrder,
    Cancel,
    Place,
    Request,
)

_log = logging.getLogger("mmkit.live")

ANSWER_WITHIN_S = 10.0
"""Longer than a venue takes to say that it has timed out itself."""


class Asking:
    """Asks an account for an order handler.

    Args:
        client: Is asked.
        handler: Hears what comes of it.
        clock: Of the run.
    """

    def __init__(self, client: AccountClient, handler: OrderHandler, clock: Clock) -> None:
        self._client, self._handler, self._clock = client, handler, clock

    async def do(self, request: Request) -> Refused | None:
        """Send a request and hand on what comes of it; return the refusal, if it was refused."""
        try:
            answer = await self._asked(request)
        except Refused as refused:
            self.refused(request, refused)
            return refused
        except FateUnknown as error:
            self._unanswered(request, str(error))
        except TimeoutError:
            self._unanswered(request, f"no answer within {ANSWER_WITHIN_S:.0f} s")
        except MmkitError as error:
            _log.error("request_failed request=%s %s", type(request).__name__, error)
            self._unanswered(request, str(error))
        except Exception as error:  # noqa: BLE001 - a client's own failure: nobody knows what the venue did
            # Its words may hold an address with key and signature, so that they are told to nobody.
            kind = type(error).__name__
            _log.error("request_failed request=%s error=%s", type(request).__name__, kind)
            self._unanswered(request, f"the client failed: {kind}")
        else:
            self._answered(request, answer)
        return None

    async def _asked(self, request: Request) -> Any:
        client = self._client
        async with asyncio.timeout(ANSWER_WITHIN_S):
            match request:
                case Place(placement):
                    return await client.place(placement)
                case Amend(amendment):
                    return await client.amend(amendment)
                case Cancel(client_id):
                    return await client.cancel(client_id)
                case AskOrder(client_id):
                    return await client.order(client_id)
                case AskFills(since_ns):
                    return await client.fills(since_ns)
                case AskFundings(since_ns):
                    return await client.fundings(since_ns)
                case AskOpen():
                    return await client.open_orders()

    def _answered(self, request: Request, answer: Any) -> None:
        now = self._clock.now_ns()
        match request:
            case Place():
                self._handler.placed(answer, now)
            case Amend(amendment):
                self._handler.amended(amendment.client_id, answer, now)
            case Cancel(client_id):
                self._handler.canceled(client_id, answer, now)
            case AskOrder(client_id):
                self._handler.order_told(client_id, answer, now)
            case AskFills():
                self._handler.fills_told(answer, now)
            case AskFundings():
                self._handler.fundings_told(answer, now)
            case AskOpen():
                self._handler.open_told(answer, now)

    def refused(self, request: Request, refused: Refused) -> None:
        """Hand on that a request was refused, by the venue or before it left."""
        now = self._clock.now_ns()
        match request:
            case Place(placement):
                self._handler.place_refused(placement.client_id, refused, now)
            case Amend(amendment):
                self._handler.amend_refused(amendment.client_id, refused, now)
            case Cancel(client_id):
                self._handler.cancel_refused(client_id, refused, now)
            case AskOrder(client_id) if refused.refusal is Refusal.NO_SUCH_ORDER:
                self._handler.order_told(client_id, None, now)
            case AskFundings() if refused.refusal not in FOR_NOW:
                _log.warning("funding_unknown reason='%s'; the venue does not tell it", refused)
                self._handler.fundings_unanswered(now, refused=True)
            case _:
                self._unanswered(request, str(refused))

    def _unanswered(self, request: Request, why: str) -> None:
        now = self._clock.now_ns()
        match request:
            case Place(placement):
                self._handler.place_unanswered(placement.client_id, why, now)
            case Amend(amendment):
                self._handler.amend_unanswered(amendment.client_id, now)
            case Cancel(client_id):
                self._handler.cancel_unanswered(client_id, now)
            case AskOrder(client_id):
                self._handler.order_unanswered(client_id, now)
            case AskFills():
                self._handler.fills_unanswered(now)
            case AskFundings():
                _log.warning("funding_unknown reason='%s'; it is asked again", why)
                self._handler.fundings_unanswered(now)
            case AskOpen():
                self._handler.open_unanswered(now)
