"""What a test has found, as a table for people among pytest's output."""

import contextlib
from collections.abc import Iterator

import pytest

Row = tuple[str, ...]


def lines(rows: list[Row]) -> Iterator[str]:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@contextlib.contextmanager
def printed(request: pytest.FixtureRequest, *heads: str) -> Iterator[list[Row]]:
    """Rows appended within the block are printed at its end, captured output or not."""
    rows = [heads]
    yield rows
    plugins = request.config.pluginmanager
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        plugins.get_plugin("terminalreporter").write_line("\n" + "\n".join(lines(rows)))
