"""The arms: base optimizers alone, with SGG and at the rate it amounts to; SGG with one thing changed at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import JsonValue

from regrad.report.palette import BLUE, GREY, ORANGE, PINK, SKY, YELLOW
from regrad.report.words import LABELS
from regrad.studies.study import Arm

PRINTED_INTERVAL = 500  # steps between reclusters in the paper


@dataclass(frozen=True, kw_only=True)
class SGGArm(Arm):
    """A base optimizer, alone or with SGG around it."""

    part: str
    base: str = "adamw"
    wrapper: str = ""  # name of the SGG around it; empty where there is none
    # settings of the wrapper beside its base and its interval
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    intervals: float = 1.0  # steps between reclusters, in those of its task
    decay: float | None = None  # for AdamW whose learning rate falls to this share at every recluster: the share

    @property
    def scaled(self) -> bool:
        return bool(self.wrapper) or self.decay is not None


class Comparison(NamedTuple):
    """A base optimizer on one task: alone, with SGG, and alone at the matched rate."""

    task: str  # what tables call the task, where the base optimizer's name does not tell it apart
    plain: SGGArm  # the base alone, tuned
    wrapped: SGGArm  # with SGG, tuned alike
    # the base at SGG's learning rate times the mean of S; None where that control is not run
    matched: SGGArm | None = None

    @property
    def name(self) -> str:
        """Name of the task in a preset: the plain arm's."""
        return self.plain.name

    @property
    def arms(self) -> tuple[SGGArm, ...]:
        return (self.plain, self.wrapped, *([self.matched] if self.matched else []))


def at_sizes(name: str, label: str, *, base: str, sizes: int = 3) -> tuple[Comparison, ...]:
    """Return a base optimizer's comparisons in pre-training, one a model size; ``name:k`` is the one at the k-th."""
    part = "pretraining"
    return tuple(
        Comparison(
            label,
            SGGArm(f"{name}:{k}", label, GREY, "o", part=part, base=base),
            SGGArm(f"{name}+sgg:{k}", f"{label} + SGG", BLUE, "D", part=part, base=base, wrapper="sgg"),
            SGGArm(f"{name}+matched:{k}", f"{label}, matched LR", ORANGE, "s", part=part, base=base),
        )
        for k in range(1, sizes + 1)
    )


def around_adamw(name: str, task: str, *, part: str, matched: bool = False) -> Comparison:
    return Comparison(
        task,
        SGGArm(name, "AdamW", GREY, "o", part=part),
        SGGArm(f"{name}+sgg", "AdamW + SGG", BLUE, "D", part=part, wrapper="sgg"),
        SGGArm(f"{name}+matched", "AdamW, matched LR", ORANGE, "s", part=part) if matched else None,
    )


PRETRAINING: dict[str, tuple[Comparison, ...]] = {
    "adamw": at_sizes("adamw", "AdamW", base="adamw"),
    "adafactor": at_sizes("adafactor", "Adafactor", base="adafactor"),
    "lamb": at_sizes("lamb", "LAMB", base="lamb"),
    "came": at_sizes("came", "CAME", base="came"),
    "lora": at_sizes("lora", "LoRA", base="adamw", sizes=1),
}
FINETUNING: dict[str, Comparison] = {
    "full": around_adamw("minilm-full", "all", part="finetuning"),
    "r4": around_adamw("minilm-r4", "LoRA, r = 4", part="finetuning"),
    "r8": around_adamw("minilm-r8", "LoRA, r = 8", part="finetuning"),
}
STANDINS: dict[str, Comparison] = {
    "dpo": around_adamw("dpo", "preferences", part="standins", matched=True),
    "caption": around_adamw("caption", "captions", part="standins", matched=True),
}
COMPARISONS = (*(c for sizes in PRETRAINING.values() for c in sizes), *FINETUNING.values(), *STANDINS.values())

SMALLEST = PRETRAINING["adamw"][0]  # what the other parts change one thing about
ROBUSTNESS = Comparison(
    "",
    SGGArm("robust-adamw", "AdamW", GREY, part="robustness"),
    SGGArm("robust-sgg", "SGG", BLUE, part="robustness", wrapper="sgg"),
)
NO_SGG = SGGArm("no SGG", "no SGG", GREY, part="variants")
# The two public implementations are set as the trainers that come with them set them.
VARIANTS: dict[str, SGGArm] = {
    arm.name: arm
    for arm in (
        SGGArm("variant=paper", "paper", BLUE, "D", part="variants", wrapper="sgg"),
        NO_SGG,
        SGGArm("variant=public-v2", "public code A", ORANGE, "v", part="variants", wrapper="sgg",
               options={"variant": "public_v2", "beta3": 0.999, "centre_decay": 0.999}),
        SGGArm("variant=public-v2-trainer", "A, its trainer", SKY, "P", part="variants", wrapper="sgg",
               options={"variant": "public_v2", "beta3": 0.9, "centre_decay": 0.95}),
        SGGArm("variant=public-c4", "public code B", PINK, "X", part="variants", wrapper="sgg",
               options={"variant": "public_c4", "beta3": 0.99, "bounds": [0.5, 10.0]}),
        SGGArm("schedule=0.999", "schedule 0.999", YELLOW, "h", part="variants", decay=0.999),
        SGGArm("schedule=0.9", "schedule 0.9", GREY, "d", part="variants", decay=0.9),
    )
}  # fmt: skip


def ablation(name: str, *, wrapper: str = "sgg", intervals: float = 1.0, **options: JsonValue) -> SGGArm:
    label = LABELS[name]
    return SGGArm(name, label, BLUE, "D", part="ablations", wrapper=wrapper, intervals=intervals, options=options)


ABLATIONS: dict[str, SGGArm] = {
    arm.name: arm
    for arm in (
        ablation("statistic=mad", statistic="mad"),
        ablation("statistic=l2", statistic="l2"),
        ablation("statistic=mean", statistic="mean"),
        ablation("feature=second-moment", feature="second_moment"),
        ablation("feature=momentum", feature="momentum"),
        ablation("feature=gradient", feature="abs_gradient"),
        ablation("D=clusters", global_deviation="clusters"),
        ablation("grouping=exact", grouping="exact"),
        ablation("grouping=minibatch", grouping="minibatch"),
        ablation("K=2", clusters=2),
        ablation("K=4", clusters=4),
        ablation("beta3=0.9", beta3=0.9),
        ablation("beta3=0.999", beta3=0.999),
        ablation("grouping=gmm", wrapper="sgg_compared", grouping="gmm"),
        ablation("grouping=dbscan", wrapper="sgg_compared", grouping="dbscan"),
        ablation("T=half", intervals=0.5),
        ablation("T=double", intervals=2.0),
        ablation("T=fivefold", intervals=5.0),
        ablation("T=printed", interval=PRINTED_INTERVAL),
    )
}
