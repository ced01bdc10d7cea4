"""Figures beside their targets: as a table on the terminal, and as a page with a picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import Figure

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "performance.svg"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

PACKAGES = ("django", "celery", "requests", "urllib3", "psycopg", "mysqlclient")


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as lines of text."""
    rows = [["figure", "measured", "target", "", "runs"]]
    rows += [[figure.what, figure.measured, figure.aim, figure.verdict, figure.range] for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        what, measured, aim, verdict, spread = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"{what}  {measured.strip().rjust(widths[1])}  {aim}  {verdict}  {spread}".rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def machine(servers: Iterable[str] = ()) -> str:
    """Return what the figures depend on, without a name or a date."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{cores} cores ({platform.machine()})", f"{platform.python_implementation()} {platform.python_version()}"]
    for package in PACKAGES:
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*parts, *servers])


def load() -> str:
    """Return how busy the machine is."""
    return f"load average {os.getloadavg()[0]:.2f}"


def write(figures: Sequence[Figure], servers: Iterable[str]) -> None:
    """Put the figures into the page, between its markers, and draw the picture."""
    page = PAGE.read_text()
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise RuntimeError(f"{PAGE.name} has no place for the figures")
    PAGE.write_text(f"{before}{BEGIN}\n{_markdown(figures, servers)}\n{END}{after}")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture([figure for figure in figures if figure.target is not None]))


def _markdown(figures: Sequence[Figure], servers: Iterable[str]) -> str:
    lines = [f"![Each figure beside its target](images/{PICTURE.name})", "", f"Measured on: {machine(servers)}.", ""]
    for name in dict.fromkeys(figure.benchmark for figure in figures):
        lines += [f"### `python -m benchmarks {name}`", "", "| figure | measured | target | | runs |"]
        lines.append("|---|--:|--:|---|---|")
        for figure in figures:
            if figure.benchmark == name:
                verdict = {"met": "✓ met", "missed": "✗ missed"}.get(figure.verdict, "")
                cells = [figure.what, figure.measured, figure.aim, verdict, figure.range]
                lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def picture(figures: Sequence[Figure]) -> str:
    """Draw each figure as a bar beside its target: left of the line is better than asked."""
    row, left, line, width = 24, 470, 470 + 220, 1000
    height = row * len(figures) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img" aria-label="Each figure beside its target">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{line}" y="16" text-anchor="middle" fill="#555">target (shorter is better)</text>',
    ]
    for index, figure in enumerate(figures):
        top = 26 + row * index
        length = min(figure.shortfall, 1.35) * (line - left)
        colour = "#2e7d32" if figure.shortfall <= 1 else "#c62828"
        parts += [
            f'<text x="{left - 8}" y="{top + 14}" text-anchor="end" fill="#222">{escape(figure.what)}</text>',
            f'<rect x="{left}" y="{top + 3}" width="{length:.0f}" height="{row - 8}" fill="{colour}" rx="2"/>',
            f'<text x="{max(left + length, line) + 8:.0f}" y="{top + 15}" fill="{colour}">'
            f"{escape(figure.measured)} (target {escape(figure.aim)})</text>",
        ]
    bottom = 26 + row * len(figures)
    parts.append(f'<line x1="{line}" y1="22" x2="{line}" y2="{bottom}" stroke="#222" stroke-dasharray="4 3"/>')
    return "\n".join([*parts, "</svg>", ""])
