"""All private endpoints by method and path, and what the WebSocket APIs call them."""

from __future__ import annotations

from mmkit_sandbox import coinm, endpoints, income
from mmkit_sandbox.listing import COINM

ENDPOINTS = endpoints.ENDPOINTS | coinm.ENDPOINTS | income.ENDPOINTS
SOCKET_METHODS = endpoints.SOCKET_METHODS | {COINM: coinm.SOCKET_METHODS}
