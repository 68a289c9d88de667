"""Writes one order after the other to a journal, and says each once it is written. `python keep_writing.py PATH [BYTES]`."""

import resource
import sys
from pathlib import Path

from mmkit.commands import TimeInForce
from mmkit.errors import RunError
from mmkit.events import Side
from mmkit.live.known import KnownOrder
from mmkit.live.store import Store

store = Store(Path(sys.argv[1]))
if len(sys.argv) > 2:
    limit = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
number = len(store.found().orders)
while True:
    number += 1
    order = KnownOrder(
        client_id=f"mm1-{number}",
        order_id=number,
        side=Side.BUY,
        price=1000,
        quantity=1,
        time_in_force=TimeInForce.GTC,
        intended_ns=number,
    )
    try:
        store.write([order], [])
    except RunError as error:
        sys.stdout.write(f"refused {error}\n")
        break
    sys.stdout.write(f"{order.client_id}\n")
    sys.stdout.flush()
