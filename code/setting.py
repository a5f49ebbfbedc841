"""The names and types of all settings; a setting of your own is a line in config.py and a line here."""

from dataclasses import dataclass, field
from typing import Any, Literal

from exper.core.components import Component, Count, Decay, Positive


@dataclass(frozen=True)
class Settings:
    """The settings of config.py; main.py refuses other names and types before it loads anything."""

    epochs: Count
    epoch_length: Count | None
    data: Component
    transform: list[Component]
    model: Component
    pretrained: str | Component | None
    loss: Component | list[Component]
    metric: list[Component]
    optimizer: Component
    scheduler: Component | None
    accumulate: Count
    clip: Positive | None
    amp: Literal["bf16", "fp16"] | None
    ema: Decay | None
    compiled: bool
    monitor: str | None
    early_stop: Component | None
    checkpoint: Component
    device: str
    processes: Count | None
    threads: Count | None
    deterministic: bool
    logger: list[str | Component]
    log_every_steps: Count | None
    see: dict[str, Any] = field(default_factory=dict)
    hardware_every_seconds: Positive | None = None
    verbose: Literal["batch", "epoch", "quiet"] = "batch"
    overfit: Count | None = None
    debug: bool = False
    anomaly: bool = False
    search: dict[str, Any] | None = None
    search_trials: Count | None = None
