"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["in_bytes", "in_seconds"]


def in_bytes(count: int) -> str:
    """Gives ``512 B``, ``3.1 KiB``, ``1.2 GiB``."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def in_seconds(seconds: float) -> str:
    """Gives ``8 µs``, ``2.1 ms``, ``34 ms``, ``1.25 s``, ``3 min 05 s``."""
    if seconds >= 60:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    thousandths = seconds * 1000
    if thousandths >= 1:
        return f"{thousandths:.0f} ms" if thousandths >= 10 else f"{thousandths:.1f} ms"
    return f"{thousandths * 1000:.0f} µs"
