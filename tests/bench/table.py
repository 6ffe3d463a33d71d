"""Rows of figures as a table in Markdown, which a terminal shows as well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """`path` leads into a row, by dots; `digits` behind the point for a float."""

    title: str
    path: str
    digits: int = 0


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [[column.title for column in columns], *([_cell(column, row) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cell(column: Column, row: Mapping[str, Any]) -> str:
    value: Any = row
    for key in column.path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None or (isinstance(value, float) and value < 0):
        return "-"
    return f"{value:.{column.digits}f}" if isinstance(value, float) else str(value)
