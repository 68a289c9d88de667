"""What a recorder leaves on disk and an import adds to it, how it is found again after a crash, and read.

::

    <userdir>/data/
      binance/usdm/BTCUSDT/
        raw/2026-11-26.zst      every message as it was received: the truth (`mmkit.recording.raw`)
        open/<ns>.rows          rows that are not in a part yet (`mmkit.recording.rows`)
        lock                    held while somebody records here
        import/                 parts on their way into the dataset (`mmkit.recording.imports`)
        import.lock             held while somebody imports
      rows/venue=binance/market=usdm/symbol=BTCUSDT/day=2026-11-26/
        part-<ns>.parquet       rows, each part whole; `rows` is one partitioned dataset

Days are UTC, by our clock.
"""
