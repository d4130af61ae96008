"""A small checkout from which the site is built: two executed notebooks, a manifest, records, every verdict."""

import base64
import json
import struct
import zlib

from regrad.claims.kinds.outcome import VERDICTS
from regrad.pipeline import site
from regrad.pipeline.folders import Folders
from regrad.results import run_set
from regrad.store import Store
from regrad.studies.sign_placement.figures import fig_curves
from tiny_runs import record, spec

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)></svg>"
    '<a href="javascript:alert(1)">x</a><iframe src="https://example.org"></iframe><style>body{display:none}</style>'
)
STAMP = "preset small · cpu · 2 runs, 2 seeds · commit unknown"
FACTS = {"preset": "small", "device": "cpu", "commit": "unknown"}


def png(width=400, height=240):
    """A grey picture."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x99" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def output(**data):
    kinds = {key.replace("_", "/", 1): value for key, value in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": kinds}


def picture(data, **beside):
    """The output of a figure; ``beside`` is what the exporter says of it."""
    return output(image_png=base64.b64encode(data).decode()) | {"metadata": {"image/png": beside}}


def cell(source, *outputs, kind="code", number=[0]):  # noqa: B006
    number[0] += 1
    found = {"cell_type": kind, "id": f"c{number[0]}", "metadata": {}, "source": source}
    return found | ({"outputs": list(outputs), "execution_count": 1} if kind == "code" else {})


def notebook(*cells):
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def claim(number, verdict):
    decided = verdict not in ("not tested", "refuted by construction")
    return {
        "id": f"X{number}",
        "paper": "sgg" if number % 2 else "dgs",
        "verdict": verdict,
        "sentence": f"Sentence number {number} about {'momentum' if number == 1 else 'steps'} & <b>more</b>.",
        "short": f"Sentence {number}",
        "study": "sgg",
        "proved": "",
        "preset": "small",
        "presets": {"small": 5} if decided else {"paper": 5},
        "gates": [],
        "waits": "",
        "absent": False,
        "parameters": [1000] if decided else [],
        "metric": "test_loss",
        "arms": ["robust-sgg", "robust-adamw"],
        "by_p": True,
        "detectable": 0.02,
        "needed_n": None,
        "look": None,
        "margin": 0.01,
        "test": {"kind": "construction"}
        if verdict == "refuted by construction"
        else {"kind": "paired", "direction": "lower", "margin": 0.01},
        "quotation": "words of the paper",
        "place": "section 3",
        "why": f"reason {number}",
        "falsified": "it is not so",
        "note": "Our grid is coarser.",
        "comparison": "one minus other",
        "label": "at 1,000 parameters",
        "estimate": -0.0123 * number if decided else None,
        "interval": [-0.5, None if number == 2 else 0.25] if decided else None,
        "unit": "nats",
        "n": 5,
        "p": 0.0004 if decided else None,
        "p_holm": 0.0004 if decided else None,
    }


CLAIMS = [claim(number, verdict) for number, verdict in enumerate(VERDICTS, start=1)]


def world(root):
    """Write the checkout; return its folders and executed notebooks."""
    folders = Folders(root, root / "cache")
    records = [record(spec(seed=seed)) for seed in (1, 2)]
    for made in records:
        Store(folders.runs).put(made)
    ids = [made.run_id for made in records]
    about = {"preset": "small", "device": "cpu", "commit": "unknown", "sha256": "0"}
    about |= {"notebook": "01_first", "drawn_by": f"{fig_curves.__module__}:fig_curves"}
    rows = [{"name": "figures/fig-one.pdf", "runs": ids, "run_set": run_set(ids), "stamp": STAMP, **about}]
    rows += [{"name": "figures/fig-bench.pdf", "runs": [], "run_set": run_set([]), **about}]
    files = {
        folders.generated / "manifest" / "01_first.json": json.dumps(rows),
        folders.generated / "claims" / "01_first.json": json.dumps([{"id": "X1"}]),
        root / "results" / "reference" / "benchmarks" / "speed.json": "{}",
        folders.claims: json.dumps({"claims": CLAIMS}),
        folders.executed / "00_start.ipynb": notebook(
            cell(f"# The start\n[next](01_first.ipynb)\n{HOSTILE}", kind="markdown"),
            cell("%matplotlib inline\nx = 1", output(text_html=f"<table><tr><td>1</td></tr></table>{HOSTILE}")),
            cell("js()", output(application_javascript="alert(1)", text_plain="plain")),
            cell("svg()", {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": HOSTILE}}),
            cell("bad()", output(image_png='"><script>alert(1)</script>', text_plain="no picture")),
        ),
        folders.executed / "01_first.ipynb": notebook(
            cell("# First study\ntext", kind="markdown"),
            cell("from regrad.studies.sign_placement import figures\nwide = " + "1 + " * 80 + "1"),
            cell(
                'path = "speed.json"\nexporter.figure("fig-unseen", figures.fig_dose, r)\n'
                'display(exporter.figure("fig-one", figures.fig_curves, r))\n'
                'display(exporter.figure("fig-bench", f))',
                picture(png(), figure="fig-one"),
                picture(png(2000, 300), figure="fig-bench"),
            ),
            cell("e.finish()", output(text_plain="'exported 2 files of 01: benchmark of today · commit unknown'")),
        ),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folders, sorted(folders.executed.glob("*.ipynb"))


def build(root):
    """Build the site of a new small checkout; return the folder of its pages."""
    folders, executed = world(root)
    site.build(executed, folders.site, claims=CLAIMS, facts=FACTS, folders=folders)
    return folders.site
