"""The one map from the code's keys to words: arms, metrics and tasks of the ledger, as its readers meet them."""

import re

DECODERS = {1: "smallest", 2: "middle", 3: "largest"}
BASES = {"came": "CAME", "adafactor": "Adafactor", "lamb": "LAMB", "lora": "LoRA"}
BEYOND = {"language": "on language", "transfer": "in transfer", "own": "on the custom network"}
ARMS = {
    # signs and preconditioners
    "ema": "the sign of the moving average",
    "example": "the sign of each example",
    "batch": "the sign of the batch mean",
    **{f"group-{k}": f"the sign of {k}-example means" for k in (2, 4, 8, 16)},
    "micro_adam_var": "variance-led Adam (MicroAdamVar)",
    "micro_adam": "per-example Adam (MicroAdam)",
    "micro_adam_msq": "mean-led Adam (MicroAdamMSQ)",
    "micro_adam+clip": "clipped MicroAdam",
    "micro_adam_var+clip": "clipped MicroAdamVar",
    "c=4": "weight 4 on the variance",
    "c=0.25": "weight 1/4 on the variance",
    "adam": "Adam",
    "lr~B^0.5": "the square-root rule",
    "lr~B^0": "a fixed learning rate",
    "lr~B^1": "the linear rule",
    # the engine
    "graph": "the rewritten backward pass",
    "backward": "an ordinary backward pass",
    "vmap": "the vectorized gradient",
    "per_example_gradients": "the per-example gradients",
    "activations": "the activations",
    # DGS: the two readings that train
    "S1": "DGS by its steps",
    "E1": "DGS by its equation",
    "sgd": "SGD",
    "lars": "LARS",
    **{f"S1@resnet{n}": f"DGS by its steps on ResNet-{n}" for n in (20, 32)},
    **{f"E1@resnet{n}": f"DGS by its equation on ResNet-{n}" for n in (20, 32)},
    **{f"lars@resnet{n}": f"LARS on ResNet-{n}" for n in (20, 32)},
    **{f"adam@resnet{n}": f"Adam on ResNet-{n}" for n in (20, 32)},
    **{f"sgd@resnet{n}": f"SGD on ResNet-{n}" for n in (20, 32)},
    **{f"S1@resnet{n}/{r}": f"DGS by its steps, {r} reset, ResNet-{n}" for n in (20, 32) for r in ("soft", "hard")},
    **{f"adam@resnet{n}/{r}": f"Adam, {r} reset, ResNet-{n}" for n in (20, 32) for r in ("soft", "hard")},
    "lars+dgs@resnet20/soft": "LARS with DGS, soft reset, spiking ResNet-20",
    "lars@resnet20/soft": "LARS, soft reset, spiking ResNet-20",
    "lars+dgs@resnet32/hard": "LARS with DGS, hard reset, spiking ResNet-32",
    "lars@resnet32/hard": "LARS, hard reset, spiking ResNet-32",
    "adam+dgs@resnet20/soft": "Adam with DGS, soft reset, spiking ResNet-20",
    "adam+dgs@resnet32/hard": "Adam with DGS, hard reset, spiking ResNet-32",
    **{f"S1@{key}": f"DGS by its steps {where}" for key, where in BEYOND.items()},
    **{f"adam@{key}": f"Adam {where}" for key, where in BEYOND.items()},
    # ALSDGC
    "V0": "ALSDGC as printed",
    "V4": "repaired ALSDGC",
    "clip-1": "clipping at norm 1",
    "best-clip": "the best fixed norm",
    "fixed-norm": "a fixed norm",
    "lamb": "LAMB",
    **{f"scale-{scale}": f"a fixed loss scale of {scale:,}" for scale in (1, 128, 1024, 65536)},
    # SGG; the number is the size of the decoder
    **{f"adamw:{n}": f"AdamW, {size} decoder" for n, size in DECODERS.items()},
    **{f"adamw+sgg:{n}": f"SGG around AdamW, {size} decoder" for n, size in DECODERS.items()},
    **{f"adamw+matched:{n}": f"AdamW at SGG's effective rate, {size} decoder" for n, size in DECODERS.items()},
    **{f"{key}:{n}": name for key, name in BASES.items() for n in (1, 2)},
    **{f"{key}+sgg:{n}": f"SGG around {name}" for key, name in BASES.items() for n in (1, 2)},
    "minilm-full": "AdamW on all weights",
    "minilm-full+sgg": "SGG on all weights",
    **{f"minilm-r{r}": f"AdamW on LoRA of rank {r}" for r in (4, 8)},
    **{f"minilm-r{r}+sgg": f"SGG on LoRA of rank {r}" for r in (4, 8)},
    "robust-sgg": "SGG around AdamW",
    "robust-adamw": "AdamW",
    "statistic=mad": "the deviation from the median as statistic",
    "statistic=l2": "the root mean square as statistic",
    "statistic=mean": "the mean as statistic",
    "feature=second-moment": "grouping by the second moment",
    "grouping=minibatch": "mini-batch k-means",
    "grouping=gmm": "a Gaussian mixture",
    "grouping=dbscan": "DBSCAN",
    "K=2": "two clusters",
    "K=4": "four clusters",
    "T=half": "half the interval",
    "T=double": "twice the interval",
    "T=fivefold": "five times the interval",
    "beta3=0.9": "a decay of 0.9",
    "beta3=0.999": "a decay of 0.999",
    "dpo": "DPO with AdamW",
    "dpo+sgg": "DPO with SGG",
    "caption": "the captioner with AdamW",
    "caption+sgg": "the captioner with SGG",
    "llama7b-lora": "LLaMA-7B with LoRA",
    "llama7b-lora+sgg": "LLaMA-7B with LoRA and SGG",
    "qwen-dpo": "Qwen2.5-0.5B by DPO",
    "qwen-dpo+sgg": "Qwen2.5-0.5B by DPO with SGG",
    "llava7b": "LLaVA-v1.5-7B",
    "llava7b+sgg": "LLaVA-v1.5-7B with SGG",
    "adamw": "AdamW",
    "adamw+sgg": "SGG around AdamW",
    "foreach": "AdamW (torch's foreach kernel)",
    "foreach+sgg": "SGG around AdamW (torch's foreach kernel)",
    "fused": "AdamW (torch's fused kernel)",
    "fused+sgg": "SGG around AdamW (torch's fused kernel)",
}  # fmt: skip

# What figures and tables call an arm whose key says nothing.
LABELS = {
    "E1": "DGS, equation",
    "E1L": "DGS, equation by tensor",
    "E1T": "DGS, equation on norms",
    "E4": "DGS, equation as rate",
    "S1": "DGS, steps",
    "S1T": "DGS, steps by tensor",
    "V0": "as printed",
    "V1": "scale divided out",
    "V2": "overflows skipped",
    "V3": "norms averaged",
    "V4": "repaired",
    "statistic=mad": "MAD for MDA",
    "statistic=l2": "root mean square for MDA",
    "statistic=mean": "mean for MDA",
    "feature=second-moment": "by second moment",
    "feature=momentum": "by signed momentum",
    "feature=gradient": "by gradient",
    "D=clusters": "median over clusters",
    "grouping=exact": "exact k-means",
    "grouping=minibatch": "mini-batch k-means",
    "grouping=gmm": "Gaussian mixture",
    "grouping=dbscan": "DBSCAN",
    "K=2": "2 clusters",
    "K=4": "4 clusters",
    "beta3=0.9": "decay 0.9",
    "beta3=0.999": "decay 0.999",
    "T=half": "half the interval",
    "T=double": "twice the interval",
    "T=fivefold": "5 × the interval",
    "T=printed": "printed interval",
}

# What a metric is called, and with which verb a difference of it is said.
METRICS = {
    "test_loss": "test loss",
    "steps_to_target": "number of steps to the target",
    "diverged_on_grid": "share of diverged runs",
    "diverged_across_batches": "share of diverged runs",
    "max_stable_relative_lr": "largest stable learning rate over the best",
    "regret": "regret",
    "regret_where_mean_leads": "regret where the mean leads",
    "seconds/decoder B16 V256": "time on a decoder",
    "peak_bytes/decoder B16 V256": "peak memory on a decoder",
    "seconds/MLP B64": "time on dense layers",
    "peak_bytes/MLP B64": "peak memory on dense layers",
    "seconds": "time of a training step",
    "peak_bytes": "peak memory",
    "bytes": "memory",
    "test_accuracy": "test accuracy",
    "spiking_accuracy": "test accuracy",
    "spikes": "number of spikes",
    "off_optimum_loss": "loss at wrong learning rates",
    "step_seconds": "time of a step",
    "matched_loss": "test loss at equal training loss",
    "lr_width": "width of good learning rates",
    "architecture_excess": "excess over the best norm, across architectures",
    "data_penalty": "loss from having less data",
    "recovery_steps": "number of steps to recover",
    "generalization_gap": "gap between test and training loss",
    "init_range": "range of losses over initial settings",
    "grid_spread": "spread of losses over rates and batch sizes",
}
TASKS = {
    "plain": "plain network",
    "resnet": "residual network",
    "rnn": "recurrent network",
    "lstm": "sentiment",
    "translation": "translation",
    "fp16": "float16",
    "imagenet": "ImageNet",
    "plain+resnet+translation": "three tasks",
}


def arm(name: str) -> str:
    """Return an arm's words; its own name where a new study has put none here."""
    return ARMS.get(name, name)


def comparison(text: str) -> str:
    """Return what was compared with its arms in words: ``"S1 minus adam"``, ``"change from a to b"``."""
    parts = re.split(r"( minus | over |^change from | to )", text)
    return "".join(part if place % 2 else arm(part) for place, part in enumerate(parts))


def metric(name: str) -> str:
    """Return a metric's words, with its task where it names one."""
    if name in METRICS:
        return METRICS[name]
    kind, _, task = name.partition("/")
    return f"{METRICS.get(kind, kind)}" + (f" ({TASKS.get(task, task)})" if task else "")
