"""A JupyterLab of this checkout, as `./reproduce.sh lab` starts it, and Chromium looking at it."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
START = "results/lab/start.ipynb"


@contextmanager
def lab(folder, *, prefix="/"):
    """A server in a fresh home; yield the address of its first page, with the token, and end it as Ctrl-C does."""
    home = folder / "home"
    home.mkdir()
    log = folder / "lab.log"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER_CONFIG")}
    environment = kept | {
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
        "JUPYTER_CONFIG_PATH": str(ROOT / "notebooks" / ".jupyter"),
        "IPYTHONDIR": str(home / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run([sys.executable, "-m", "regrad.pipeline.start_page"], cwd=ROOT, env=environment, check=True)
    words = ["--notebook-dir=.", "--no-browser", "--port=0", f"--ServerApp.base_url={prefix}"]
    words += [f"--LabApp.default_url=/lab/tree/{START}"]
    words += ["--allow-root"] if os.getuid() == 0 else []
    with log.open("w") as output:
        command = [sys.executable, "-m", "jupyter", "lab", *words]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
            # Started in the background, tests ignore Ctrl-C, and so would the server.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
    try:
        yield address(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"the server did not end: {log.read_text()[-2000:]}") from None


def address(process, log):
    for _ in range(600):
        if found := re.search(r"http://127\.0\.0\.1:\d+\S*\?token=\w+", log.read_text()):
            return found.group()
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])
