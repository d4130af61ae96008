"""The HTML site: board and ledger, figures with their way to notebook, code and records, notebooks, report and manual.

Every page is a page of Sphinx, which gives all of them one navigation, one search and one look. What records say is
HTML of our templates, handed over as it is; what people write is the Markdown of ``docs/manual``.
"""

import json
import re
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, PackageLoader

from regrad.atomic import write_atomically
from regrad.pipeline import generator, site_ledger, site_notebooks
from regrad.pipeline.folders import Folders
from regrad.pipeline.site_figures import Shown, shown
from regrad.pipeline.site_sources import (
    COLUMNS,
    Shelf,
    caption,
    claim_pages,
    definition,
    digest,
    figure_rows,
    lines,
    proof_at,
    source_at,
    table,
)
from regrad.pipeline.verdicts import runs_of
from regrad.report.board import DARK, LIGHT, picture
from regrad.report.findings import sentences
from regrad.report.manifest import ManifestRow
from regrad.studies.catalogue import PAPERS

THEMES = {"light": LIGHT, "dark": DARK}
UNKNOWN = "no export of this name: shown by the notebook only"
PROOF = "a proof: a test that runs wherever verdicts are computed"
TITLE = "Four papers that change a gradient between backward pass and update, reproduced"
NOTEBOOKS = "Each study, executed: every figure, table and verdict of the report, and the code that made it."


class Builder:
    """Writes what Sphinx makes one site from: pages into ``source``, files that pages lead to into ``site``."""

    def __init__(self, source: Path, site: Path, facts: dict[str, str], folders: Folders | None) -> None:
        self.source, self.site, self.facts, self.folders = source, site, facts, folders
        self.written: set[str] = set()
        self.shelf = Shelf(folders.runs) if folders else None
        self.environment = Environment(loader=PackageLoader("regrad.pipeline"), autoescape=True)

    def render(self, template: str, **values: Any) -> str:
        return self.environment.get_template(template).render(values, facts=self.facts)

    def file(self, name: str, data: bytes) -> str:
        write_atomically(self.site / name, data)
        return name

    def page(self, name: str, template: str, title: str, *, children: tuple[str, ...] = (), **values: Any) -> str:
        """Write a page, once: two figures may lead to one module or one set of records.

        Args:
            name: Its path below the site without a suffix.
            template: Of its HTML.
            title: Its heading, as it stands.
            children: Pages below it in the navigation; a page in a folder is in neither navigation nor search.
            values: What the template prints.
        """
        if name not in self.written:
            self.written.add(name)
            body, page = self.source / f"{name}.html", self.source / f"{name}.md"
            write_atomically(body, self.render(template, **values).encode())
            # Its HTML is escaped by the template, as everywhere.
            words = {"listed": "/" not in name, "title": re.sub(r"([\\`*_{}\[\]])", r"\\\1", title)}
            write_atomically(page, self.render("page.md", body=body.name, children=children, **words).encode())
        return f"{name}.html"

    def figure(self, picture: Shown, row: ManifestRow | None, otherwise: str) -> dict[str, Any]:
        item = {
            "name": picture.name,
            "src": self.file(f"figures/{picture.name}.png", picture.png),
            "width": picture.size[0],
            "height": picture.size[1],
            "caption": f"Figure {picture.name}",
            "stamp": otherwise if row else UNKNOWN,
            "records": [],
        }
        if row and row.runs:
            item |= self.records(row)
        return item | self.code(row, picture.name) if row and row.drawn_by else item

    def code(self, row: ManifestRow, figure: str) -> dict[str, str]:
        assert self.folders is not None
        module, _, function = row.drawn_by.partition(":")
        source = source_at(self.folders.root, row.commit, module)
        if source is None:
            return {}
        path, text, note = source
        line, docstring = definition(text, function)
        # By commit: figures of one site may come from several, each with its own text of the module.
        name = f"code/{row.commit.replace('+', '-changed')}/{module}"
        page = self.page(name, "code.html", module, path=path, note=note, lines=text.splitlines())
        return {"code": f"{page}#L{line}", "caption": caption(docstring, figure)}

    def proof(self, test: str) -> str:
        """Return where a test that proves a claim is shown; nothing where it is not."""
        found = proof_at(self.folders.root, test) if self.folders else None
        if found is None:
            return ""
        path, text, line = found
        name = f"code/{path.removesuffix('.py')}"
        page = self.page(name, "code.html", Path(path).stem, path=path, note=PROOF, lines=text.splitlines())
        return f"{page}#L{line}"

    def records(self, row: ManifestRow) -> dict[str, Any]:
        assert self.shelf is not None
        records = [record for record in self.shelf.records(row.runs) if record]
        name, data = row.run_set, lines(records)
        self.file(f"records/{name}.jsonl", data)
        page = self.page(
            f"records/{name}",
            "records.html",
            f"Run set {name}: {len(records)} runs",
            set=name,
            heads=COLUMNS,
            rows=table(records),
            digest=digest(data),
            missing=len(row.runs) - len(records),
        )
        return {"stamp": row.stamp, "records": [{"href": page, "text": f"{len(records)} records"}]}

    def chapter(
        self, path: Path, pages: set[str], children: tuple[str, ...] = (), *, played: bool = False
    ) -> dict[str, Any]:
        """Write the page of an executed notebook, a study's or a playground; it may lead to ``pages``."""
        notebook = nbformat.read(path, as_version=4)
        title, pictures = site_notebooks.title_of(notebook), shown(notebook, path.stem)
        rows = figure_rows(self.folders, path.stem) if self.folders else {}
        items = [self.figure(picture, rows.get(picture.name), last_stamp(notebook)) for _, picture in pictures]
        # A figure made from no runs shows a benchmark: the files that its notebook names.
        items = [item | {"records": item["records"] or self.benchmarks(notebook)} for item in items]
        if played:
            about = {"caption": f"{title}: the picture that it starts with", "stamp": ""}
            said = [{"text": output.data.get("text/plain", "")} for output, _ in pictures]
            items = [item | about | text for item, text in zip(items, said, strict=True)]
        macro = getattr(self.environment.get_template("_figure.html").module, "figure")  # noqa: B009
        figures = [str(macro(item, item["name"])) for item in items]
        body = site_notebooks.body(notebook, [output for output, _ in pictures], figures, pages)
        self.page(path.stem, "notebook.html", title, children=children, body=body)
        return {"name": path.stem, "title": title, "figures": items}

    def benchmarks(self, notebook: nbformat.NotebookNode) -> list[dict[str, str]]:
        source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        folder = self.folders.benchmarks if self.folders else None
        files = [p for p in sorted(folder.glob("*.json")) if f'"{p.name}"' in source] if folder else []
        return [{"href": self.file(f"records/{p.name}", p.read_bytes()), "text": p.name} for p in files]

    def index(self, claims: list[dict[str, Any]], pages: dict[str, str], children: tuple[str, ...]) -> None:
        runs = set().union(*runs_of(self.folders, self.facts["preset"]).values()) if self.folders else set()
        body = json.dumps({"claims": claims}, indent=1, sort_keys=True, ensure_ascii=False)
        self.file("claims.json", (body + "\n").encode())
        for name, theme in THEMES.items() if claims else ():
            self.file(f"board-{name}.svg", picture(claims, PAPERS, theme))
            self.file(f"board-{name}-narrow.svg", picture(claims, PAPERS, theme, columns=1))
        self.page(
            "index",
            "index.html",
            TITLE,
            children=children,
            answers=sentences(claims, runs=f"{len(runs):,}"),
            manual=(self.source / "manual").is_dir(),
            claims=site_ledger.shown(claims, pages, self.proof),
            papers=site_ledger.papers(claims),
            verdicts=site_ledger.verdicts(),
            boards=list(THEMES) if claims else [],
        )


def last_stamp(notebook: nbformat.NotebookNode) -> str:
    """Return the stamp in the exporter's last line of an executed notebook."""
    outputs = [o for c in reversed(notebook.cells) for o in c.get("outputs", [])]
    texts = [str(o.get("data", {}).get("text/plain", "")).strip("'\"") for o in outputs]
    return next((text.partition(": ")[2] for text in texts if text.startswith("exported ")), "computed in the notebook")


def build(
    executed: list[Path],
    site: Path,
    *,
    claims: list[dict[str, Any]],
    facts: dict[str, str],
    folders: Folders | None = None,
    played: tuple[Path, ...] = (),
) -> list[Path]:
    """Write the site over an earlier one; return its files.

    Args:
        executed: The studies' notebooks.
        site: Where to.
        claims: Rows of ``results/claims.json``.
        facts: Preset, device and commit; ``pdf`` where there is a report.
        folders: The checkout that figures lead into, and whose manual is part of the site.
        played: Executed playgrounds, the first of which leads to the others.
    """
    with generator.workplace(folders) as (source, made):
        builder = Builder(source, made, facts, folders)
        pages, lab = {path.stem for path in (*executed, *played)}, [path.stem for path in played]
        chapters = [builder.chapter(path, pages) for path in executed]
        for path in played:
            builder.chapter(path, pages, tuple(lab[1:]) if path == played[0] else (), played=True)
        studies = tuple(chapter["name"] for chapter in chapters)
        builder.page("figures", "figures.html", "Figures", chapters=chapters)
        builder.page("report", "report.html", "The report")
        builder.page("notebooks", "list.html", "Notebooks", lead=NOTEBOOKS, items=chapters, children=studies)
        parts = ["Verdicts <self>", "figures", "report", "notebooks", *(f"Playgrounds <{name}>" for name in lab[:1])]
        parts += ["The manual <manual/index>"] if (source / "manual").is_dir() else []
        builder.index(claims, claim_pages(folders, list(studies)) if folders else {}, tuple(parts))
        if folders and facts.get("pdf"):
            builder.file("report.pdf", (folders.paper / "report.pdf").read_bytes())
        colours = {name: site_ledger.colours(theme.verdicts) for name, theme in THEMES.items()}
        return generator.run(
            source, made, site, {"facts": facts, "claims": site_ledger.shown(claims, {}, str), "colours": colours}
        )
