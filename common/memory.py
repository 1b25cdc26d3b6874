"""Whether the machine has the memory that something takes."""

from common.errors import UserError


def require_memory(needed: float, what: str) -> None:
    """Refuse what takes more bytes than the system says are free."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return
    if needed > free:
        raise UserError(
            f"{what} needs about {needed / 1e9:.1f} GB of memory: expected at most the "
            f"{free / 1e9:.1f} GB that are free"
        )
