"""Publish: copy the records behind the report to ``results/reference/`` and write the README's generated tables."""

import json
import re
from pathlib import Path
from typing import Any

from regrad import archive, blessing
from regrad.archive import Archive, opened
from regrad.atomic import write_atomically
from regrad.blessing import Chain
from regrad.pipeline.folders import Folders
from regrad.pipeline.targets import plan_of
from regrad.pipeline.verdicts import COST, PUBLISHED, cost_of_runs
from regrad.problems.data.sources import markdown_table
from regrad.report.benchmarks import read
from regrad.report.board import DARK, LIGHT, picture
from regrad.report.costs import cost
from regrad.report.findings import found_of
from regrad.report.ledger import to_markdown
from regrad.report.synthesis import summary
from regrad.results import Circumstances, Record
from regrad.runner.ensure import Bench, finder, reached
from regrad.runner.progress import duration
from regrad.store import Store
from regrad.studies.catalogue import PAPERS, STUDIES

BOARDS = {"board-light.svg": LIGHT, "board-dark.svg": DARK}  # under docs/, the README's first picture


def reference_folder(folders: Folders, name: str) -> Path:
    """Return the folder of a published set of records, ``<preset>-<device>``."""
    return folders.root / "results" / "reference" / name


def publish(folders: Folders, name: str) -> str:
    """Make a set hold what the studies' plans name and the run store or the set itself has; say in words what that is.

    It need not be complete. Equal records give equal bytes, and a study without new ones keeps its file. A run that was
    made again with the same numbers keeps its published record: blessings may name it. Verdicts and facts are those of
    the report that was made last, if it was made at this preset.
    """
    target = reference_folder(folders, name)
    preset, device = name.split("-")
    stores = [Store(folders.runs), opened(target / "runs")]
    here, there = finder(Bench(folders.runs, folders.cache, device)), {r.spec.key(): r for r in stores[1]}
    walks = {
        study: reached(plan, preset, lambda spec: kept(here(spec), there.get(spec.key())))
        for study in STUDIES
        if (plan := plan_of(study))
    }
    went = {r.run_id: circumstances(stores, r.run_id) for records, _ in walks.values() for r in records}
    if not went:
        return ""
    chain = blessing.read(target)
    changed = archive.write(target / "runs", shared_out({s.name: records for s, (records, _) in walks.items()}, went))
    lines = [rechained(target, chain)] if chain.links else []
    costs = {study.label: [cost(r, went[r.run_id]) for r in records] for study, (records, _) in walks.items()}
    spent = json.dumps(cost_of_runs(costs), indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(target / COST, (spent + "\n").encode())
    copy_report(folders, target, preset)
    if name == PUBLISHED:
        write_readme(folders)
    missing = len({spec.key() for _, specs in walks.values() for spec in specs})
    size = sum(path.stat().st_size for path in (target / "runs").iterdir()) / 1e6
    text = f"results/reference/{name}: {len(went)} runs, {size:.1f} MB, {len(changed)} files changed"
    return "\n".join([text + (f"; {missing} named so far are open" if missing else ""), *filter(None, lines)])


def kept(new: Record | None, old: Record | None) -> Record | None:
    """Return the record that a set holds of a run: the published one, unless the store's says something else."""
    said = [r and (r.status, r.parameters, r.metrics, r.curves) for r in (new, old)]
    return old if new is None or said[0] == said[1] else new


def circumstances(stores: list[Store | Archive], run_id: str) -> Circumstances | None:
    """Return how a run went, from the first store that says so."""
    return next((how for store in stores if (how := store.circumstances(run_id)) is not None), None)


def shared_out(studies: dict[str, list[Record]], went: dict[str, Circumstances | None]) -> dict[str, list[archive.Run]]:
    """Return each study's runs with how they went; one that several share is the first one's."""
    owner = {record.run_id: name for name in reversed(studies) for record in studies[name]}
    return {
        name: [(record, went[record.run_id]) for record in records if owner[record.run_id] == name]
        for name, records in studies.items()
    }


def rechained(target: Path, chain: Chain) -> str:
    """Bind blessings to the runs that a set has become; where one names a run that is gone, drop them and say so."""
    runs = opened(target / "runs")
    moved = blessing.anchored(chain, runs.names())
    try:
        blessing.check(moved, runs)
    except blessing.BlessingError:
        (target / blessing.FILE).unlink()
        return "its blessings named runs that are not in it any more, and are gone: bless it anew"
    blessing.write(target, moved)
    return ""


def copy_report(folders: Folders, target: Path, preset: str) -> None:
    """Copy verdicts and facts of the report that was made last, if it was made at this preset."""
    if not folders.claims.is_file():
        return
    claims = folders.claims.read_bytes()
    if {claim["preset"] for claim in json.loads(claims)["claims"]} == {preset}:
        write_atomically(target / "claims.json", claims)
        for fact in sorted((folders.generated / "live").glob("*.json")):
            write_atomically(target / "live" / fact.name, fact.read_bytes())


def spent(store: Store | Archive) -> str:
    """Return how many runs a store holds and how long they took together, in words."""
    times = [store.circumstances(record.run_id) for record in store]
    seconds = sum(t.seconds for t in times if t is not None)
    return f"{len(times)} runs, {duration(seconds)} of one core"


def published_claims(folders: Folders) -> list[dict[str, Any]]:
    """Return the published verdicts."""
    path = reference_folder(folders, PUBLISHED) / "claims.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["claims"]
    return rows


def generated_parts(folders: Folders) -> dict[str, dict[str, str]]:
    """Return the generated parts of README and docs, by file and marker."""
    folder, claims = reference_folder(folders, PUBLISHED), published_claims(folders)
    late = sum(bool(claim["waits"]) for claim in claims)
    wait = "claim waits" if late == 1 else "claims wait"
    waiting = f" {late} {wait} for runs of this preset that are still to be made." if late else ""
    again = read(reference_folder(folders, "benchmarks") / "costs-cpu.json")
    source = f"From `results/reference/{PUBLISHED}/`: {spent(opened(folder / 'runs'))}.{waiting}"
    return {
        "README.md": {"papers": f"{papers_table(claims)}\n{source}"},
        "docs/results.md": {"verdicts": f"{source}\n\n{to_markdown(claims)}"},
        "docs/data.md": {"data": markdown_table()},
        "docs/running.md": {"times": times_table(json.loads((folder / COST).read_text(encoding="utf-8")), again)},
    }


def times_table(spent: dict[str, Any], again: dict[str, Any]) -> str:
    """Return what the published runs of each study took, in minutes of one core, and what a sample takes alone."""
    lines = ["| study | runs | minutes of one core |", "| --- | --- | --- |"]
    lines += [f"| {row['study']} | {row['runs']} | {60 * float(row['core hours']):.0f} |" for row in spent["table"]]
    alone = f"{100 * again['ratio']:.0f} ± {100 * again['error']:.0f} %"
    said = (
        f"From `results/reference/{PUBLISHED}/`; two cores take about half of it. These times were recorded while the "
        f"machine had other work too: {len(again['runs'])} runs, drawn by their cost and made again alone, took "
        f"{alone} of them (mean ± standard error; `benchmarks/costs.py`)."
    )
    return f"{said}\n\n" + "\n".join(lines) + "\n"


def papers_table(claims: list[dict[str, Any]]) -> str:
    """Return the README's table: a row a paper, what was found of it in a sentence, verdicts counted, links."""
    lines = ["| paper | found | verdicts | more |", "| --- | --- | --- | --- |"]
    for key, paper in PAPERS.items():
        rows = [row for row in claims if row["paper"] == key]
        studies = [study for study in STUDIES if study.paper == paper and study.section]
        links = [f"[paper]({paper.url})"] if paper.url else []
        links += [f"[{study.notebook[:2]}](notebooks/{study.notebook}.ipynb)" for study in studies]
        said = f"**{paper.name}**: {paper.subject} ({paper.cited})"
        lines.append(f"| {said} | {found_of(rows)} | {summary(rows)} | {' · '.join(links)} |")
    return "\n".join(lines) + "\n"


def filled(text: str, parts: dict[str, str]) -> str:
    """Return ``text`` with each part between its two markers.

    Raises:
        ValueError: If a marker is missing.
    """
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.S)
        match = pattern.search(text)
        if match is None:
            raise ValueError(f"no markers {name}:begin and {name}:end")
        text = f"{text[: match.end(1)]}{part.strip()}\n{text[match.start(2) :]}"
    return text


def write_readme(folders: Folders) -> None:
    """Bring the generated parts of README and docs up to date."""
    for file, parts in generated_parts(folders).items():
        path = folders.root / file
        write_atomically(path, filled(path.read_text(encoding="utf-8"), parts).encode())
    for name, theme in BOARDS.items():
        write_atomically(folders.root / "docs" / name, picture(published_claims(folders), PAPERS, theme))
