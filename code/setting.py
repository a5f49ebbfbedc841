"""The names that config.py binds and their types; a setting of your own is one line there and one here."""

from dataclasses import dataclass, field
from typing import Any, Literal

from exper.core.components import Count, Positive, Share

Part = dict[str, Any]  # {"name": ..., argument: ...}


@dataclass(frozen=True)
class Settings:
    """What config.py says; main.py refuses other names and types before anything is loaded."""

    epochs: Count
    epoch_length: Count | None
    data: Part
    transform: list[Part]
    model: Part
    pretrained: str | Part | None
    loss: Part | list[Part]
    metric: list[Part]
    optimizer: Part
    scheduler: Part | None
    accumulate: Count
    clip: Positive | None
    amp: Literal["bf16", "fp16"] | None
    ema: Share | None
    compiled: bool
    monitor: str | None
    early_stop: Part | None
    checkpoint: Part
    device: str
    processes: Count | None
    threads: Count | None
    deterministic: bool
    logger: list[str | Part]
    log_every_steps: Count | None
    see: dict[str, Any] = field(default_factory=dict)
    hardware_every_seconds: Positive | None = None
    verbose: Literal["batch", "epoch", "quiet"] = "batch"
    overfit: Count | None = None
    debug: bool = False
    anomaly: bool = False
    search: dict[str, Any] | None = None
    search_trials: Count | None = None
