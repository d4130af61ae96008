"""The HTML site: the ledger with filters, every figure with its way to notebook, code and records, every notebook."""

import json
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, PackageLoader

from regrad.atomic import write_atomically
from regrad.pipeline import site_ledger, site_notebooks
from regrad.pipeline.folders import Folders
from regrad.pipeline.site_figures import Shown, shown
from regrad.pipeline.site_sources import (
    CLEAN,
    Shelf,
    caption,
    claim_pages,
    definition,
    digest,
    figure_rows,
    lines,
    repository,
    source_at,
    table,
)
from regrad.report.board import DARK, LIGHT, picture
from regrad.report.manifest import ManifestRow
from regrad.studies.catalogue import PAPERS

OURS = ("code", "figures", "records")  # folders of the site in which nothing else lies
THEMES = (("light", LIGHT), ("dark", DARK))
UNKNOWN = "no export of this name: shown by the notebook only"


class Builder:
    """Writes the pages of one site."""

    def __init__(self, site: Path, facts: dict[str, str], folders: Folders | None) -> None:
        self.site, self.facts, self.folders = site, facts, folders
        self.written: dict[Path, None] = {}
        self.shelf = Shelf(folders.runs) if folders else None
        self.remote = repository(folders.root) if folders else ""
        self.environment = Environment(loader=PackageLoader("regrad.pipeline"), autoescape=True)

    def write(self, name: str, data: bytes) -> str:
        """Write a file of the site, once; return its name."""
        path = self.site / name
        # Two figures may lead to one module or one set of records; pages are large and the same.
        if path not in self.written:
            write_atomically(path, data)
            self.written[path] = None
        return name

    def page(self, name: str, template: str, title: str, **values: Any) -> str:
        values |= {"up": "../" * name.count("/"), "facts": self.facts, "title": title}
        return self.write(name, self.environment.get_template(template).render(**values).encode())

    def figure(self, picture: Shown, row: ManifestRow | None, otherwise: str) -> dict[str, Any]:
        item = {
            "name": picture.name,
            "src": self.write(f"figures/{picture.name}.png", picture.png),
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
        name = f"code/{row.commit.replace('+', '-changed')}/{module}.html"
        values = {"module": module, "path": path, "note": note, "lines": text.splitlines()}
        links = {"code": self.page(name, "code.html", module, **values) + f"#L{line}"}
        # A commit with changes on top is nowhere but here: a link to the remote would show other code.
        if self.remote and CLEAN.fullmatch(row.commit):
            links["remote"] = f"{self.remote}/blob/{row.commit}/{path}#L{line}"
        return links | {"caption": caption(docstring, figure)}

    def records(self, row: ManifestRow) -> dict[str, Any]:
        assert self.shelf is not None
        records = [record for record in self.shelf.records(row.runs) if record]
        name, data = row.run_set, lines(records)
        self.write(f"records/{name}.jsonl", data)
        values = {"set": name, "rows": table(records), "digest": digest(data), "missing": len(row.runs) - len(records)}
        page = self.page(f"records/{name}.html", "records.html", f"Run set {name}", **values)
        return {"stamp": row.stamp, "records": [{"href": page, "text": f"{len(records)} records"}]}

    def chapter(self, path: Path) -> dict[str, Any]:
        notebook = nbformat.read(path, as_version=4)
        title, pictures = site_notebooks.title_of(notebook), shown(notebook, path.stem)
        rows = figure_rows(self.folders, path.stem) if self.folders else {}
        items = [self.figure(picture, rows.get(picture.name), last_stamp(notebook)) for _, picture in pictures]
        # A figure made from no runs shows a benchmark: the files that its notebook names.
        items = [item | {"records": item["records"] or self.benchmarks(notebook)} for item in items]
        macro = getattr(self.environment.get_template("_figure.html").module, "figure")  # noqa: B009
        figures = [str(macro(item, item["name"])) for item in items]
        body = site_notebooks.body(notebook, [output for output, _ in pictures], figures)
        page = self.page(f"{path.stem}.html", "notebook.html", title, body=body)
        return {"href": page, "title": title, "figures": items}

    def benchmarks(self, notebook: nbformat.NotebookNode) -> list[dict[str, str]]:
        source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        folder = self.folders.benchmarks if self.folders else None
        files = [p for p in sorted(folder.glob("*.json")) if f'"{p.name}"' in source] if folder else []
        return [{"href": self.write(f"records/{p.name}", p.read_bytes()), "text": p.name} for p in files]

    def sweep(self) -> None:
        """Remove pages of earlier builds from the folders that are the site's own."""
        for path in [p for name in OURS for p in (self.site / name).rglob("*") if p.is_file()]:
            if path not in self.written:
                path.unlink()


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
) -> list[Path]:
    builder = Builder(site, facts, folders)
    chapters = [builder.chapter(path) for path in executed]
    pages = claim_pages(folders, [path.stem for path in executed]) if folders else {}
    body = json.dumps({"claims": claims}, indent=1, sort_keys=True, ensure_ascii=False)
    builder.write("claims.json", (body + "\n").encode())
    builder.page(
        "index.html",
        "index.html",
        "regrad: four papers about the gradient, reproduced",
        chapters=chapters,
        claims=site_ledger.shown(claims, pages),
        papers=site_ledger.papers(claims),
        verdicts=site_ledger.verdicts(),
        boards=[builder.write(f"board-{n}.svg", picture(claims, PAPERS, theme)) for n, theme in THEMES]
        if claims
        else [],
    )
    builder.sweep()
    return list(builder.written)
