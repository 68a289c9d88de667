"""What a signal model is trained on and judged by: samples, labels, splits, scaling, windows, metrics.

Classes are numbered 0 = down, 1 = flat, 2 = up wherever there are three of something.
"""

from __future__ import annotations

from mmkit.learning.baselines import ImbalanceRule, majority
from mmkit.learning.bootstrap import BlockBootstrap, Interval, block_length
from mmkit.learning.calibration import Calibration, calibration
from mmkit.learning.card import CARD, Card, Span, read_card
from mmkit.learning.evaluation import Comparison, Evaluation, compare, evaluate
from mmkit.learning.fi2010 import Fi2010, read_fi2010
from mmkit.learning.labels import CLASSES, LabelRule, check_classes, class_shares
from mmkit.learning.metrics import Scores, chance_f1, confusion, scores
from mmkit.learning.samples import Samples, grid_times, span_of, update_times
from mmkit.learning.scaling import Scaling
from mmkit.learning.shift import best_shift
from mmkit.learning.splits import Part, Split, split_at, split_by_shares, walk_forward
from mmkit.learning.taker import TakerResult, take
from mmkit.learning.windows import window_ends, windows, windows_at

__all__ = [
    "CARD",
    "CLASSES",
    "BlockBootstrap",
    "Calibration",
    "Card",
    "Comparison",
    "Evaluation",
    "Fi2010",
    "ImbalanceRule",
    "Interval",
    "LabelRule",
    "Part",
    "Samples",
    "Scaling",
    "Scores",
    "Span",
    "Split",
    "TakerResult",
    "best_shift",
    "block_length",
    "calibration",
    "chance_f1",
    "check_classes",
    "class_shares",
    "compare",
    "confusion",
    "evaluate",
    "grid_times",
    "majority",
    "read_card",
    "read_fi2010",
    "scores",
    "span_of",
    "split_at",
    "split_by_shares",
    "take",
    "update_times",
    "walk_forward",
    "window_ends",
    "windows",
    "windows_at",
]
