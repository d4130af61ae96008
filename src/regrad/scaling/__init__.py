"""Loss scaling and gradient clipping."""

from regrad.scaling.alsdgc import ALSDGC as ALSDGC
from regrad.scaling.baselines import CLIPPERS as CLIPPERS
from regrad.scaling.baselines import SCALERS as SCALERS
from regrad.scaling.baselines import ClippedScaler as ClippedScaler
from regrad.scaling.baselines import FixedScaler as FixedScaler
from regrad.scaling.clippers import AutoClip as AutoClip
from regrad.scaling.clippers import EMAClip as EMAClip
from regrad.scaling.clippers import FixedClip as FixedClip
from regrad.scaling.third_party import AGC as AGC
from regrad.scaling.third_party import OPTIMIZERS as OPTIMIZERS
from regrad.scaling.third_party import ZClip as ZClip
