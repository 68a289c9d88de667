"""One part of a run: what was asked for, and how it is configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmkit.interfaces import PluginConfig, Provider
from mmkit.plugins import build


@dataclass(frozen=True)
class Chosen:
    """One part of a run: what was asked for, and how it is configured.

    Attributes:
        name: As in ``plugin: NAME``, or the key of a risk check.
        provider: Makes it.
        config: What was written beside the name.
    """

    name: str
    provider: Provider[Any, Any]
    config: PluginConfig = field(repr=False)

    def build(self, context: Any) -> Any:
        """Return the part, built with its config and `context`.

        Raises:
            PluginError: if the plugin raises something that is not mmkit's.
        """
        return build(self.provider, self.config, context)
