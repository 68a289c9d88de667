"""What a recorder leaves on disk, and how it is found again after a crash.

::

    <userdir>/data/
      binance/usdm/BTCUSDT/
        raw/2026-11-26.zst      every message as it was received: the truth (`mmkit.recording.raw`)
        open/<ns>.rows          rows that are not in a part yet (`mmkit.recording.rows`)
        lock                    held while somebody records here
      rows/venue=binance/market=usdm/symbol=BTCUSDT/day=2026-11-26/
        part-<ns>.parquet       rows, each part whole; `rows` is one partitioned dataset

Days are UTC, by our clock.
"""
