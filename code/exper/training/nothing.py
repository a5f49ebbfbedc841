"""A stand-in for objects that write, show or save, where nothing is to be written, shown or saved."""

from typing import Any


class Nothing:
    """Accept any method call and do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle ask for these
            raise AttributeError(name)
        return lambda *_, **__: None


NOTHING: Any = Nothing()
