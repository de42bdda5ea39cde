"""A module that cannot be imported."""

raise ImportError("this module is broken")


def work() -> None:
    """Never be reached."""
