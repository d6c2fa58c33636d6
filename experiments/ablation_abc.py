"""Fig. 6: the values a, b and c of the piecewise distance (Eq. 6).

    python experiments/ablation_abc.py --root DATA/cityscapes DATA/VOCdevkit --storage s3://bucket/raylab

First b / a is swept with c / b = 1, then c / b with b / a = 2; the distance is a metric for all of them (a <= b <= 2a
and c >= b, Appendix A). The paper settles on a = 1, b = c = 2.
Time: about 334 GPU hours by `--plan`, less what other experiments have done.
"""

from __future__ import annotations

from raylab.config import RunConfig
from raylab.experiment import Experiment, main


class AblationAbc(Experiment):
    """Fig. 6: Entropy+Spatial under several a, b and c."""

    name = "ablation-abc"
    paper = "Fig. 6"

    b_over_a: tuple[float, ...] = (1, 1.25, 1.5, 1.75, 2)
    """With c / b = 1."""
    c_over_b: tuple[float, ...] = (1, 1.5, 2, 2.5)
    """With b / a = 2."""

    def compared(self, run: RunConfig) -> tuple[str, ...]:
        """Ratios; b / a = 2 with c / b = 1 is what Entropy+Spatial says without numbers."""
        triples = [(1, b, b) for b in self.b_over_a] + [(1, 2, 2 * c) for c in self.c_over_b]
        named = ["entropy+spatial" if (b, c) == (2, 2) else f"entropy+spatial,b={b:g},c={c:g}" for _, b, c in triples]
        return tuple(dict.fromkeys(named))


if __name__ == "__main__":
    main(AblationAbc, __doc__)
