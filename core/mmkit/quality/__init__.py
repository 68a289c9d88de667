"""What is wrong with recorded market data: what may be found, and what a source says of its own.

`mmkit.quality.tape` looks at any tape; a data source adds what only it knows (`SourceCheck`).
"""

from __future__ import annotations

from mmkit.quality.findings import CODES, Finding, Grade, Notebook, Place, SourceCheck, of_stats

__all__ = [
    "CODES",
    "Finding",
    "Grade",
    "Notebook",
    "Place",
    "SourceCheck",
    "of_stats",
]
